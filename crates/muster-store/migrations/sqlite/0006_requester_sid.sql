-- Version 6. The security identifier of the account that sent a request, where a directory vouched for one: an account
-- that was made anew under the same name is another one.

ALTER TABLE requests ADD COLUMN requester_sid TEXT;
