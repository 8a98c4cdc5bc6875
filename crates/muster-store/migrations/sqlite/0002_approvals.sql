-- Version 2. What an officer approved, and how much of an account waits for one.

-- The template as it was then: identifier and revision, '1.3.6.1.4.1.311.21.8.1.2 100.4'.
ALTER TABLE requests ADD COLUMN approved_for TEXT;

-- The same as it was when the request was last looked at: an officer approves that, where the template is not in this
-- database but in a directory.
ALTER TABLE requests ADD COLUMN asked_for TEXT;

-- Counted before one more is taken; an ordinary enrollment does not touch it.
CREATE INDEX requests_pending_of ON requests (requester) WHERE disposition = 'pending';
