# One image; the first word of the command chooses what it runs: api, worker, migrate, or any other word of
# `nuanxin` (see docker-entrypoint.sh and docs/operating.md).
FROM python:3.11-slim

# Whoever runs the image by hand must not meet keys that everyone knows: without its own it refuses to start.
ENV NUANXIN_ENVIRONMENT=production \
    NUANXIN_SANDBOX=false \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/nuanxin

# Dependencies first: they change less often than the code, so that their layer is reused.
COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md docker-entrypoint.sh ./
COPY app app
COPY migrations migrations
# Editable, because the migrations, the SQL and the data files are read from beside the code.
RUN python -m pip install --no-deps --no-build-isolation -e . \
    && python -m compileall -q app migrations \
    && useradd --no-create-home --uid 10001 nuanxin

USER nuanxin
EXPOSE 8000
# For `api`; switch it off for the others, which answer no HTTP.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["sh", "/opt/nuanxin/docker-entrypoint.sh"]
CMD ["api"]
