-- Version 7. Requests that are passed on to a CA that is not ours: in whose name, what the certificate must be like, and
-- what that CA made of it.

-- A request with a row here is what 'state' says; the disposition in its own row stays 'signing'.
CREATE TABLE forwarding (
    id INTEGER PRIMARY KEY REFERENCES requests (id),
    ca TEXT NOT NULL,
    identity TEXT NOT NULL,
    spki BLOB NOT NULL,
    template_name TEXT NOT NULL,
    template_oid TEXT,
    sid TEXT,
    -- Who sends it, and since when.
    node TEXT NOT NULL,
    sent INTEGER NOT NULL,
    -- Recognizes the same request, as requests.repeat_key does, for as long as that CA may have it.
    sent_key INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('submitting', 'under_submission', 'unknown', 'issued', 'denied', 'failed')),
    backend_id INTEGER,
    certificate BLOB,
    response BLOB,
    hresult INTEGER,
    settled INTEGER,
    CHECK ((state = 'issued') = (certificate IS NOT NULL))
) STRICT;
-- Only rows that are not at their end are indexed.
CREATE INDEX forwarding_open ON forwarding (sent_key) WHERE state IN ('submitting', 'under_submission', 'unknown');
