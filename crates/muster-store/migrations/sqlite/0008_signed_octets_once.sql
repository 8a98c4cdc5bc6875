-- Version 8. The octets that are signed are written once: with the request, when they are recorded. The intent and the
-- certificate had a copy each.

-- What may have been signed for this request.
ALTER TABLE request_bodies ADD COLUMN tbs BLOB;
-- What follows those octets in the certificate: algorithm and signature. Absent for certificates of earlier versions,
-- which stay whole in certificate_bodies.
ALTER TABLE certificates ADD COLUMN signature BLOB;

CREATE TABLE open_intents (
    id INTEGER PRIMARY KEY REFERENCES requests (id),
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    node TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
UPDATE request_bodies SET tbs = (SELECT intents.tbs FROM intents WHERE intents.id = request_bodies.id)
WHERE id IN (SELECT id FROM intents);
INSERT INTO open_intents (id, serial, node, at) SELECT id, serial, node, at FROM intents;
DROP TABLE intents;
ALTER TABLE open_intents RENAME TO intents;
