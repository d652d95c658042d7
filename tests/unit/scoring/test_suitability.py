"""On which references BLEU can distinguish models, and which metric is used if it cannot."""

import pytest

from seq2seq.cli.main import main
from seq2seq.scoring.suitability import weakness

THAI = ["ประเทศไทยมีประชากรเจ็ดสิบล้านคน", "วันนี้อากาศดีมากและฉันไปเดินเล่นในสวน"]
PHRASES = ["ประเทศไทยมีประชากร เจ็ดสิบล้านคนในวันนี้ ซึ่งเป็นจำนวนที่มาก และเพิ่มขึ้นทุกปี"]  # spaces between phrases
KHMER = ["ខ្ញុំចង់ទៅផ្សារនៅថ្ងៃស្អែក", "តើអ្នកសុខសប្បាយជាទេនៅថ្ងៃនេះ"]
LAO = ["ຂ້ອຍຢາກໄປຕະຫຼາດໃນມື້ອື່ນກັບໝູ່"]
BURMESE = ["ကျွန်တော်မနက်ဖြန်ဈေးသို့သွားချင်သည်"]
JAPANESE = ["私は昨日友達と一緒に映画を見ました"]
CHINESE = ["我昨天和朋友一起去看了一场电影"]
SPLIT = ["我 昨天 和 朋友 一起 去 看 了 电影", "ฉัน อยาก ไป ตลาด ใน วัน พรุ่งนี้"]  # already split into words
NORMAL = ["Ein Mann schläft auf dem Sofa.", "Die Frau liest ein Buch im Park."]
KOREAN = ["나는 어제 친구와 함께 영화를 보았다"]


@pytest.mark.parametrize(
    ("references", "language", "instead"),
    [
        (NORMAL, "de", None),
        (NORMAL, None, None),
        (KOREAN, "xx", None),
        (SPLIT, "xx", None),
        (CHINESE, "zh", None),  # split by its own tokenizer
        (["walks", "went", "go!"], "en", "chrf"),
        (["in 1998", "the king"], "en", "chrf"),
        (["yes", "no", "in the old house", "a b"], "en", "chrf"),  # a quarter has four words
        (["yes", "in the old house", "by the large river"], "en", None),  # two thirds
        (["1", "2", "12.5"], None, "chrf"),
        (["我们", "好"], "zh", "chrf"),
        (["我们", "好"], "xx", "chrf"),
        (THAI, "th", "bleu-char"),
        (PHRASES, "th", "bleu-char"),
        (KHMER, "km", "bleu-char"),
        (LAO, "lo", "bleu-char"),
        (BURMESE, "my", "bleu-char"),
        (JAPANESE, "xx", "bleu-char"),
        (CHINESE, None, "bleu-char"),
        ([*NORMAL, *THAI, *THAI], None, None),  # a third is split into words
        ([*NORMAL, *THAI, *THAI, *KHMER, *LAO], None, "bleu-char"),
        ([*NORMAL, "", "  ", "", "", "", "", ""], "de", None),  # empty lines do not count
        ([], "de", None),
        ([""], "de", None),
    ],
)
def test_bleu(references, language, instead):
    found = weakness("bleu", references, language)
    assert (found and found.instead) == instead


def test_the_reason_is_said_in_words():
    assert weakness("bleu", ["a b", "c", "d e f g"], None) is None
    assert weakness("bleu", ["a b", "c", "d e f"], None).reason == "100% of the references have fewer than 4 words"
    assert weakness("bleu", THAI, "th").reason == "100% of the references are written without spaces between words"


def test_other_metrics():
    assert weakness("bleu-char", ["ab", "c"]).instead == "chrf"
    assert weakness("bleu-char", THAI) is None
    for metric in ("chrf", "chrf++", "ter", "exact", "wer", "per", "wer-words"):
        assert weakness(metric, ["ab", "c"]) is None


def test_long_corpora_are_sampled():
    assert weakness("bleu", ["one"] * 99_999 + NORMAL).instead == "chrf"


def test_score_says_so(tmp_path, capsys):
    for name, lines in (("short", ["walks", "went"]), ("thai", THAI), ("normal", NORMAL)):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (tmp_path / f"{name}.out").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        capsys.readouterr()
        assert main(["score", str(path), "-i", f"{path}.out"]) == 0
        said = capsys.readouterr().err
        if name == "normal":
            assert said == ""
        else:
            assert said.count("\n") == 1
            assert "BLEU hardly distinguishes systems here: 100% of the references" in said
            assert said.rstrip().endswith("go by chrF" if name == "short" else "go by BLEU-char (-m bleu-char)")
    assert main(["score", str(tmp_path / "short"), "-i", str(tmp_path / "short.out"), "-m", "exact"]) == 0
    assert capsys.readouterr().err == ""
