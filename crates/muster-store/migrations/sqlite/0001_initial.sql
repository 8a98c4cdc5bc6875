-- Version 1. Times are seconds since 1970 UTC, ids are request ids, serial numbers are 20 octets.

-- What identifies this installation; one row, written once.
CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    policy_id TEXT NOT NULL,
    oid_root TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Numbers that only grow. configuration and revocations are raised in the transaction of the change they count,
-- so that what was read earlier can be known to be still true.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value)
VALUES ('next_request', 1), ('configuration', 1), ('revocations', 1), ('crl_number', 0), ('health', 0);

CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    password_hash TEXT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    version INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE templates (
    id INTEGER PRIMARY KEY,
    name_key TEXT NOT NULL UNIQUE,
    oid TEXT NOT NULL UNIQUE,
    published INTEGER NOT NULL CHECK (published IN (0, 1)),
    body TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

CREATE TABLE template_versions (
    template INTEGER NOT NULL REFERENCES templates (id),
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    body TEXT NOT NULL,
    changed INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (template, major, minor)
) STRICT, WITHOUT ROWID;

-- Contents of templates in a directory that an officer accepted in spite of their dangers, by fingerprint.
CREATE TABLE accepted_templates (
    fingerprint TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    officer TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The request table: narrow, written in the order of its key. repeat_key recognizes a request that is sent again
-- (first octets of a hash over account, template and octets); forgotten says that it may be. What is looked up by it
-- is in memory.
-- A request whose disposition is 'signing' is issued as soon as its certificate is in the table of certificates: that
-- no row says so means that none can say so without a certificate, and spares writing the row again.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    requester TEXT NOT NULL,
    method TEXT NOT NULL,
    form TEXT NOT NULL,
    template TEXT,
    endpoint TEXT NOT NULL,
    renews BLOB,
    disposition TEXT NOT NULL
        CHECK (disposition IN ('signing', 'pending', 'approved', 'denied', 'failed')),
    code TEXT,
    message TEXT,
    officer TEXT,
    decided INTEGER,
    comment TEXT,
    repeat_key INTEGER,
    forgotten INTEGER
) STRICT;
-- Only rows that wait for somebody are indexed, so an ordinary enrollment writes no index.
CREATE INDEX requests_waiting ON requests (id) WHERE disposition IN ('pending', 'approved');

CREATE TABLE request_bodies (
    id INTEGER PRIMARY KEY,
    submitted_by TEXT NOT NULL,
    raw BLOB NOT NULL
) STRICT;

-- What may have been signed. A row leaves in the transaction that brings the certificate, which holds the same
-- octets, or the abandonment, which keeps them.
CREATE TABLE intents (
    id INTEGER PRIMARY KEY REFERENCES requests (id),
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    node TEXT NOT NULL,
    tbs BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE abandoned (
    id INTEGER PRIMARY KEY REFERENCES requests (id),
    serial BLOB NOT NULL,
    tbs BLOB NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE certificates (
    id INTEGER PRIMARY KEY REFERENCES requests (id),
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    account TEXT NOT NULL,
    template_oid TEXT NOT NULL,
    subject TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    issued INTEGER NOT NULL
) STRICT;

CREATE TABLE certificate_bodies (
    id INTEGER PRIMARY KEY,
    der BLOB NOT NULL
) STRICT;

-- Revoked certificates and abandoned serial numbers; the latter have no end of validity.
CREATE TABLE revocations (
    id INTEGER PRIMARY KEY,
    serial BLOB NOT NULL,
    reason INTEGER NOT NULL,
    at INTEGER NOT NULL,
    not_after INTEGER
) STRICT;

CREATE TABLE blocked_keys (
    spki_sha256 BLOB PRIMARY KEY CHECK (length(spki_sha256) = 32),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE crls (
    number INTEGER PRIMARY KEY,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    der BLOB NOT NULL
) STRICT;

-- Append only. hash = SHA-256 over the hash of the row before and every field of this one.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT,
    template TEXT,
    request INTEGER,
    serial BLOB,
    outcome TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit records are never changed');
END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit records are never deleted');
END;

-- The last record, so that records cut off at the end are missed.
CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head (one, sequence, hash) VALUES (1, 0, zeroblob(32));
