"""The ledger as first released.

Plain SQL, written out rather than derived from `sluice.schema`: a migration must do tomorrow what it did today.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE sluice.imports (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    dataset TEXT,
    table_name TEXT NOT NULL,
    source TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    force_no INTEGER DEFAULT 0 NOT NULL,
    options JSONB DEFAULT '{}'::jsonb NOT NULL,
    dialect JSONB DEFAULT '{}'::jsonb NOT NULL,
    plan JSONB DEFAULT '{}'::jsonb NOT NULL,
    status TEXT DEFAULT 'running' NOT NULL,
    attempt INTEGER DEFAULT 1 NOT NULL,
    records BIGINT DEFAULT 0 NOT NULL,
    loaded BIGINT DEFAULT 0 NOT NULL,
    updated BIGINT DEFAULT 0 NOT NULL,
    unchanged BIGINT DEFAULT 0 NOT NULL,
    skipped BIGINT DEFAULT 0 NOT NULL,
    rejected BIGINT DEFAULT 0 NOT NULL,
    blank_lines BIGINT DEFAULT 0 NOT NULL,
    bytes_total BIGINT DEFAULT 0 NOT NULL,
    bytes_done BIGINT DEFAULT 0 NOT NULL,
    errors_by_category JSONB DEFAULT '{}'::jsonb NOT NULL,
    errors_by_rule JSONB DEFAULT '{}'::jsonb NOT NULL,
    warnings_by_rule JSONB DEFAULT '{}'::jsonb NOT NULL,
    suite_result JSONB,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    flow_run_id TEXT,
    started_by TEXT,
    message TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT imports_status_known CHECK (
        status IN ('running', 'completed', 'completed_with_rejects', 'failed', 'cancelled', 'undone')
    )
);
CREATE UNIQUE INDEX imports_content_once ON sluice.imports (fingerprint, force_no) WHERE status <> 'undone';
CREATE INDEX imports_dataset ON sluice.imports (dataset, id);
COMMENT ON COLUMN sluice.imports.table_name IS 'schema.name of the target';
COMMENT ON COLUMN sluice.imports.source IS 'URI without credentials';
COMMENT ON COLUMN sluice.imports.sha256 IS 'of the source''s bytes as stored';
COMMENT ON COLUMN sluice.imports.size IS 'bytes of the source as stored';
COMMENT ON COLUMN sluice.imports.fingerprint IS 'content + target + every option that changes the outcome';
COMMENT ON COLUMN sluice.imports.force_no IS 'above 0: imported again with --force';
COMMENT ON COLUMN sluice.imports.attempt IS 'fencing number: one more at every resume, cancel and undo';
COMMENT ON COLUMN sluice.imports.bytes_total IS 'of the decompressed text in UTF-8';
COMMENT ON COLUMN sluice.imports.suite_result IS 'Great Expectations'' result for the whole file';
COMMENT ON COLUMN sluice.imports.seconds IS 'spent by all attempts together';

CREATE TABLE sluice.before_images (
    import_id BIGINT NOT NULL,
    line BIGINT,
    op TEXT NOT NULL,
    key JSONB,
    image JSONB NOT NULL,
    CONSTRAINT before_images_op_known CHECK (op IN ('update', 'delete'))
);
CREATE INDEX before_images_line ON sluice.before_images (import_id, line);
COMMENT ON COLUMN sluice.before_images.line IS 'the line of the file that overwrote it; NULL for a replaced table';
COMMENT ON COLUMN sluice.before_images.key IS 'array of the key''s values, in the order of the dataset''s key';
COMMENT ON COLUMN sluice.before_images.image IS 'the row as it was';

CREATE TABLE sluice.chunks (
    import_id BIGINT NOT NULL,
    byte_start BIGINT NOT NULL,
    byte_end BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    lines BIGINT NOT NULL,
    records BIGINT DEFAULT 0 NOT NULL,
    loaded BIGINT DEFAULT 0 NOT NULL,
    updated BIGINT DEFAULT 0 NOT NULL,
    unchanged BIGINT DEFAULT 0 NOT NULL,
    skipped BIGINT DEFAULT 0 NOT NULL,
    rejected BIGINT DEFAULT 0 NOT NULL,
    blank_lines BIGINT DEFAULT 0 NOT NULL,
    errors JSONB DEFAULT '{}'::jsonb NOT NULL,
    warnings JSONB DEFAULT '{}'::jsonb NOT NULL,
    metrics JSONB,
    seconds DOUBLE PRECISION NOT NULL,
    attempt INTEGER NOT NULL,
    committed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (import_id, byte_start),
    FOREIGN KEY(import_id) REFERENCES sluice.imports (id) ON DELETE CASCADE
);
COMMENT ON COLUMN sluice.chunks.metrics IS 'partial results of the suite, summed over the chunks at the end';

CREATE TABLE sluice.rejected_rows (
    import_id BIGINT NOT NULL,
    line BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL,
    raw BYTEA NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    PRIMARY KEY (import_id, line),
    CONSTRAINT rejected_rows_state_known CHECK (state IN ('open', 'replayed', 'discarded'))
);
COMMENT ON COLUMN sluice.rejected_rows.line IS 'physical line of the record''s first byte, as an editor counts';
COMMENT ON COLUMN sluice.rejected_rows.byte_offset IS 'in the decompressed text in UTF-8';
COMMENT ON COLUMN sluice.rejected_rows.raw IS 'the source''s bytes, without the line end';

CREATE TABLE sluice.row_errors (
    import_id BIGINT NOT NULL,
    line BIGINT NOT NULL,
    "column" TEXT,
    code TEXT NOT NULL,
    category TEXT NOT NULL,
    message TEXT NOT NULL,
    value TEXT
);
CREATE INDEX row_errors_line ON sluice.row_errors (import_id, line);

CREATE TABLE sluice.touched_keys (
    import_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    line BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (import_id, key)
);
COMMENT ON COLUMN sluice.touched_keys.key IS 'jsonb_build_array(key columns)::text';
COMMENT ON COLUMN sluice.touched_keys.kind IS 'skipped, unchanged, loaded or updated';

CREATE TABLE sluice.unique_values (
    import_id BIGINT NOT NULL,
    rule INTEGER NOT NULL,
    line BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL,
    byte_length BIGINT NOT NULL,
    value TEXT NOT NULL
);
CREATE INDEX unique_values_import ON sluice.unique_values (import_id, rule);
COMMENT ON COLUMN sluice.unique_values.rule IS 'position in the suite''s uniqueness rules';

"""

_VIEWS = """
CREATE VIEW sluice.import_history AS
SELECT
    i.id,
    i.dataset,
    i.table_name,
    i.source,
    i.status,
    i.started_at,
    i.finished_at,
    i.seconds,
    CASE WHEN i.seconds > 0 THEN i.records / i.seconds END AS rows_per_second,
    i.records,
    i.loaded,
    i.updated,
    i.unchanged,
    i.skipped,
    i.rejected,
    CASE WHEN i.records > 0 THEN round(100.0 * i.rejected / i.records, 2) END AS rejected_percent,
    first_error.line AS first_error_line,
    first_error."column" AS first_error_column,
    first_error.code AS first_error_code,
    i.errors_by_category,
    i.attempt,
    i.force_no,
    i.size,
    i.sha256,
    i.started_by,
    i.flow_run_id,
    i.message
FROM sluice.imports AS i
LEFT JOIN LATERAL (
    SELECT e.line, e."column", e.code
    FROM sluice.row_errors AS e
    WHERE e.import_id = i.id
    ORDER BY e.line
    LIMIT 1
) AS first_error ON true;
COMMENT ON VIEW sluice.import_history IS 'every import with its counts and its first error';

CREATE VIEW sluice.import_progress AS
SELECT
    i.id,
    i.dataset,
    i.table_name,
    i.source,
    i.status,
    i.attempt,
    i.bytes_total,
    c.bytes_done,
    CASE WHEN i.bytes_total > 0 THEN round(100.0 * c.bytes_done / i.bytes_total, 1) END AS percent,
    c.chunks,
    c.records,
    c.loaded,
    c.updated,
    c.unchanged,
    c.skipped,
    c.rejected,
    i.started_at,
    c.last_commit_at,
    CASE WHEN c.bytes_now > 0 AND i.status = 'running'
        THEN (i.bytes_total - c.bytes_done) * c.seconds_now / c.bytes_now
    END AS seconds_left,
    i.flow_run_id,
    i.message
FROM sluice.imports AS i
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE byte_start >= 0) AS chunks,
        coalesce(sum(byte_end - byte_start) FILTER (WHERE byte_start >= 0), 0)::bigint AS bytes_done,
        coalesce(sum(records), 0)::bigint AS records,
        coalesce(sum(loaded), 0)::bigint AS loaded,
        coalesce(sum(updated), 0)::bigint AS updated,
        coalesce(sum(unchanged), 0)::bigint AS unchanged,
        coalesce(sum(skipped), 0)::bigint AS skipped,
        coalesce(sum(rejected), 0)::bigint AS rejected,
        max(committed_at) AS last_commit_at,
        sum(byte_end - byte_start) FILTER (WHERE byte_start >= 0 AND attempt = i.attempt) AS bytes_now,
        extract(epoch FROM clock_timestamp() - min(committed_at - make_interval(secs => seconds))
            FILTER (WHERE attempt = i.attempt))::double precision AS seconds_now
    FROM sluice.chunks
    WHERE import_id = i.id
) AS c
WHERE i.status IN ('running', 'failed', 'cancelled');
COMMENT ON VIEW sluice.import_progress IS 'imports that are not finished, as far as they have committed';

CREATE VIEW sluice.errors_by_rule AS
SELECT
    e.import_id,
    i.dataset,
    e.code,
    e.category,
    e."column",
    count(*) AS errors,
    count(DISTINCT e.line) AS "rows",
    min(e.line) AS first_line,
    (array_agg(e.message ORDER BY e.line))[1] AS first_message,
    (array_agg(e.value ORDER BY e.line))[1] AS first_value
FROM sluice.row_errors AS e
JOIN sluice.imports AS i ON i.id = e.import_id
GROUP BY e.import_id, i.dataset, e.code, e.category, e."column";
COMMENT ON VIEW sluice.errors_by_rule IS 'rejected rows counted by reason';
"""


def upgrade() -> None:
    # exec_driver_sql: no parameters, so the whole text goes in one message and its colons stay colons.
    bind = op.get_bind()
    bind.exec_driver_sql(_TABLES)
    bind.exec_driver_sql(_VIEWS)
