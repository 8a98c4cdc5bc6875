-- Version 5. Enrollment agents: who may enroll whom with which template, and who did.

-- template is a name in lower case, of a template here or in a directory; subjects is written as in a template's
-- permissions: group:NAME, account:NAME, sid:S-1-…
CREATE TABLE agent_limits (
    agent TEXT NOT NULL,
    template TEXT NOT NULL,
    subjects TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (agent, template, subjects)
) STRICT, WITHOUT ROWID;

-- The agent of a request on behalf of somebody; its requester is the account that it is for. Other requests have no
-- row here.
CREATE TABLE request_agents (
    id INTEGER PRIMARY KEY,
    agent TEXT NOT NULL
) STRICT;
