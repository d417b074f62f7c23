SELECT 1;
BEGIN;
SET LOCAL application_name = 'in a transaction';
SHOW application_name;
COMMIT;
CREATE TABLE copied (n int);
\copy copied from program 'seq 1000'
SELECT count(*) FROM copied;
\copy (SELECT 'copied out') to stdout
DROP TABLE copied;
\set FETCH_COUNT 10
SELECT 'by cursor' FROM generate_series(1, 25) ORDER BY 1 OFFSET 24;
