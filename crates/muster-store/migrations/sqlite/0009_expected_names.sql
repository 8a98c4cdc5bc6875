-- Version 9. What the names and the security identifier of a certificate must be that another CA issues, as JSON. Rows
-- without it were sent before they were compared: 'sid' is demanded of them, if there is one, and nothing else.

ALTER TABLE forwarding ADD COLUMN rules TEXT;
