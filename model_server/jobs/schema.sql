CREATE TABLE IF NOT EXISTS job (
    id       TEXT PRIMARY KEY,
    request  TEXT NOT NULL,
    weights  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    owner    TEXT NOT NULL DEFAULT '',
    lease    DOUBLE PRECISION NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    error    TEXT NOT NULL DEFAULT '',
    phase    TEXT NOT NULL DEFAULT 'queued',
    done     INTEGER NOT NULL DEFAULT 0,
    total    INTEGER NOT NULL DEFAULT 0,
    created  DOUBLE PRECISION NOT NULL
);
CREATE INDEX IF NOT EXISTS job_by_state ON job (state, created);
CREATE TABLE IF NOT EXISTS frame (
    job TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    idx INTEGER NOT NULL,
    sha TEXT NOT NULL,
    PRIMARY KEY (job, idx)
) WITHOUT ROWID;
-- The frames that a job had to generate; all other ones were made before.
CREATE TABLE IF NOT EXISTS generated (
    job TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    idx INTEGER NOT NULL,
    PRIMARY KEY (job, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS warning (
    job     TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    first   INTEGER NOT NULL,
    "end"   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (job, first, kind)
) WITHOUT ROWID;
-- Results by the key of everything they depend on: frames and pose codes.
CREATE TABLE IF NOT EXISTS result (
    key TEXT PRIMARY KEY,
    sha TEXT NOT NULL
) WITHOUT ROWID;
-- When a job was last asked for or watched, and until when it is kept for somebody's list of takes; seconds since 1970.
CREATE TABLE IF NOT EXISTS job_use (
    job  TEXT PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    used DOUBLE PRECISION NOT NULL DEFAULT 0,
    kept DOUBLE PRECISION NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS result_by_content ON result (sha);
CREATE INDEX IF NOT EXISTS frame_by_content ON frame (sha);
