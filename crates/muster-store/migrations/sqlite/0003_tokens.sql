-- Version 3. One-time tokens. The row stays: it is the identity of whoever used the token.

-- verifier is a hash of the password; names are the names of the certificate as JSON; kind is what the template is for.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    verifier BLOB NOT NULL CHECK (length(verifier) = 32),
    template_oid TEXT NOT NULL,
    template TEXT NOT NULL,
    kind TEXT NOT NULL,
    names TEXT NOT NULL,
    uses INTEGER NOT NULL CHECK (uses > 0),
    used INTEGER NOT NULL CHECK (used BETWEEN 0 AND uses),
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER
) STRICT, WITHOUT ROWID;
