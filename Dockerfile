# One image for web, worker, beat and release; the command says which.
FROM python:3.13.9-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/casebridge
RUN useradd --system --no-create-home casebridge
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements.txt
COPY . .
# Collecting static files reads the settings, which ask for these; nothing of them stays in the image.
RUN SECRET_KEY=only-to-build-0123456789-abcdefghijklmnopqrstuvwxyz-image \
    ENCRYPTION_KEY=build-only-build-only-build-only-build \
    DATABASE_URL=postgres://none REDIS_URL=redis://none python manage.py collectstatic --noinput
USER casebridge
EXPOSE 8000
# Of web; compose.yaml says what it is for the others.
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s CMD ["python", "-m", "portal.alive", "web"]
CMD ["gunicorn", "portal.wsgi", "--no-control-socket"]
