-- Version 4. Which certificate was had with which: a line begins with an enrollment by password or ticket, and has no
-- row as long as nothing was had with it.

-- requests.renews is the serial number of the certificate that a request was made with: the one that a renewal renews,
-- or the one that a first enrollment signed in with.
CREATE TABLE lines (
    id INTEGER PRIMARY KEY,
    -- The request whose certificate this one was had with.
    parent INTEGER NOT NULL,
    -- The first request of the line.
    line INTEGER NOT NULL,
    -- The first enrollment that its renewals go back to; itself, if it is one.
    origin INTEGER NOT NULL,
    -- Certificates since the last sign-in by something else, and when that was.
    generation INTEGER NOT NULL,
    since INTEGER NOT NULL,
    -- SHA-256 of SubjectPublicKeyInfo; without it the certificate tells.
    key BLOB
) STRICT;
CREATE INDEX lines_of_parent ON lines (parent);
CREATE INDEX lines_of_line ON lines (line);

-- Renewals that there are already.
INSERT INTO lines (id, parent, line, origin, generation, since)
SELECT requests.id, old.id, old.id, old.id, 0, old.issued
FROM requests
JOIN certificates ON certificates.id = requests.id
JOIN certificates AS old ON old.serial = requests.renews
WHERE requests.renews IS NOT NULL;

WITH RECURSIVE known (id, line, generation, since) AS (
    SELECT lines.id, lines.parent,
           CASE requests.method WHEN 'client_certificate' THEN 1 ELSE 0 END,
           CASE requests.method WHEN 'client_certificate' THEN lines.since ELSE requests.received END
    FROM lines JOIN requests ON requests.id = lines.id
    WHERE lines.parent NOT IN (SELECT id FROM lines)
    UNION ALL
    SELECT lines.id, known.line,
           CASE requests.method WHEN 'client_certificate' THEN known.generation + 1 ELSE 0 END,
           CASE requests.method WHEN 'client_certificate' THEN known.since ELSE requests.received END
    FROM known JOIN lines ON lines.parent = known.id JOIN requests ON requests.id = lines.id
)
UPDATE lines
SET line = known.line, origin = known.line, generation = known.generation, since = known.since
FROM known WHERE known.id = lines.id;
