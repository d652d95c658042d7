# The commands of seq2seq, on torch's CPU build; see conf/INSTALLING.md. Not built yet where this was written.
FROM python:3.11-slim

RUN useradd --create-home user && mkdir /work && chown user /work
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY conf conf
COPY data data
COPY experiments/lessons experiments/lessons
COPY seq2seq seq2seq
RUN pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu $(sed -n '/^torch==/p' constraints.txt) \
    && pip install --no-cache-dir -c constraints.txt hatchling setuptools setuptools-scm \
    && pip install --no-cache-dir -c constraints.txt --no-build-isolation '.[serve,export,tune]'

USER user
WORKDIR /work
EXPOSE 8080
ENTRYPOINT ["seq2seq"]
CMD ["--help"]
