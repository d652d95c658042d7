"""Tab completion of the command line: `eval "$(seq2seq train -sc install=bash)"`, also for zsh and fish.

Hydra's completion is for programs whose arguments are all overrides. This one has commands, so the installed function
calls `seq2seq train -sc query=SHELL` with the complete line in COMP_LINE, and gets commands, their options, and for
commands that train Hydra's groups and keys. Without any result, the shell completes file names.
"""

from __future__ import annotations

import os
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterable, Sequence
from contextlib import suppress

from seq2seq.cli.commands import COMMANDS
from seq2seq.errors import UserError

SHELLS = ("bash", "zsh", "fish")
FLAGS = ("-sc", "--shell-completion")
COMPOSING = ("train", "tune", "demo")  # commands that take overrides
OWN = ("--help", "--version")

ZSH = """\
_seq2seq() { local -a matches; local part
matches=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" "${words[1]}" train -sc query=zsh 2>/dev/null)}")
[[ -z "${matches[*]}" ]] && { _files; return; }
for part in $matches; do [[ $part == *[=./] ]] && compadd -S "" -- $part || compadd -- $part; done; }
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _seq2seq seq2seq"""

INSTALL = {
    "bash": f"""\
if [ -n "${{ZSH_VERSION-}}" ]; then eval '{ZSH}'
else hydra_bash_completion() {{
    local line="${{COMP_LINE:0:${{COMP_POINT:-${{#COMP_LINE}}}}}}" word="${{COMP_WORDS[COMP_CWORD]}}" full prefix=""
    full="${{line##* }}"
    if [ "$word" != "$full" ]; then # bash takes = and : for ends of words
        case "$word" in =|:) word="" ;; esac
        prefix="${{full%"$word"}}"
    fi
    local IFS=$'\\n'
    COMPREPLY=($(COMP_LINE="$line" "${{COMP_WORDS[0]/#\\~/$HOME}}" train -sc query=bash 2>/dev/null))
    COMPREPLY=("${{COMPREPLY[@]#"$prefix"}}")
    case "${{COMPREPLY[0]-}}" in *[=./]) compopt -o nospace 2>/dev/null ;; esac
    return 0
}}
complete -o default -F hydra_bash_completion seq2seq
fi""",
    "fish": """\
function hydra_fish_completion
    set -l words (commandline -opc)
    set -l matches (COMP_LINE=(commandline -cp) $words[1] train -sc query=fish 2>/dev/null | string match -v '')
    test -n "$matches" && string join \\n -- $matches || __fish_complete_path (commandline -ct)
end
complete -c seq2seq -f -a '(hydra_fish_completion)'""",
}
INSTALL["zsh"] = INSTALL["bash"]
UNINSTALL = {
    "bash": """\
if [ -n "${ZSH_VERSION-}" ]; then compdef -d seq2seq; unset -f _seq2seq
else complete -r seq2seq; unset -f hydra_bash_completion
fi""",
    "fish": "complete -e -c seq2seq\nfunctions -e hydra_fish_completion",
}
UNINSTALL["zsh"] = UNINSTALL["bash"]


def is_query(argv: Iterable[str]) -> bool:
    """Whether the arguments of `train` are a request for completion."""
    return any(word in FLAGS for word in argv)


def run(argv: Sequence[str]) -> int:
    """Print the shell code to install or uninstall completion, or for a query the completions of COMP_LINE.

    Raises `UserError` for anything but install, uninstall and query, and for an unknown shell.
    """
    words = [word for word in argv if word not in FLAGS]
    what, _, shell = words[0].partition("=") if len(words) == 1 else ("", "", "")
    if shell not in SHELLS or what not in ("install", "uninstall", "query"):
        raise UserError(f"-sc {' '.join(words)}: use install=SHELL or uninstall=SHELL; shells: {', '.join(SHELLS)}")
    if what == "query":
        print("\n".join(complete(os.environ.get("COMP_LINE", ""))))
    else:
        print((INSTALL if what == "install" else UNINSTALL)[shell])
    return 0


def complete(line: str) -> list[str]:
    """The words that can complete the line; none where a file name is expected."""
    _, *words = line.split() or [""]
    current = words.pop() if words and not line[-1:].isspace() else ""
    if not words:
        return _beginning(current, [*COMMANDS, *OWN] if current.startswith("-") else COMMANDS)
    name, *before = words
    if name not in COMMANDS:
        return []
    if current.startswith("-") or (before and before[-1].startswith("-") and name != "train"):
        return _options(name, before, current)
    placed = [word for word in before if not word.startswith("-")]
    if name in COMPOSING and (name != "tune" or placed):
        return _overrides([word for word in placed if "=" in word or word[:1] in "+~"], current, "-m" in before)
    return []


def _beginning(current: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(current))


def _options(name: str, before: Sequence[str], current: str) -> list[str]:
    """The options of a command, or the choices of the previous option."""
    actions = _parser(name)._actions
    last = next((each for each in actions if before and before[-1] in each.option_strings), None)
    if last is not None and _takes_value(last):
        return _beginning(current, map(str, last.choices or ()))
    shown = (option for each in actions if each.help != SUPPRESS for option in each.option_strings)
    return _beginning(current, shown) if current.startswith("-") else []


def _takes_value(action: Action) -> bool:
    return action.nargs != 0


def _parser(name: str) -> ArgumentParser:
    if name == "train":
        from hydra._internal.utils import get_args_parser

        return get_args_parser()
    from importlib import import_module

    parser = ArgumentParser()
    import_module(f"seq2seq.cli.{name.replace('-', '_')}").add_arguments(parser)
    return parser


def _overrides(before: Sequence[str], current: str, sweeping: bool) -> list[str]:
    """Hydra's completions: groups, their options, keys, and their values."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from seq2seq.runtime.paths import packaged

    line = " ".join(["-m"] * sweeping + [*before, current])
    completions: list[str] = []
    with suppress(Exception), initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        if hydra is not None:
            completions = DefaultCompletionPlugin(hydra.config_loader)._query("train", line)
    return _beginning(current, {str(each) for each in completions})
