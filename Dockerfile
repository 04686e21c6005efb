# Everything that `make` and the notebooks need, at the versions of the lock.
#   docker build -t ptycho .
#   docker run --rm -p 8888:8888 ptycho                                            JupyterLab on the list of notebooks, at the address it prints
#   docker run --rm -v "$PWD/reports:/srv/ptycho/reports" ptycho make study        its report comes into ./reports
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/ptycho
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
# the Makefile then takes this Python and makes no environment of its own
ENV VIRTUAL_ENV=/usr/local
CMD ["ptycho", "lab", "HOST=0.0.0.0"]
