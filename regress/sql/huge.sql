--
-- penstock.scan: rows that no message can hold. Some 10 s and 3 GB of memory.
--
\set VERBOSITY default

-- More than 1 GB in a row: an error that names row and column, before all of it has been taken.
CREATE UNLOGGED TABLE huge (id int PRIMARY KEY, body text);
ALTER TABLE huge ALTER body SET STORAGE EXTERNAL;
INSERT INTO huge VALUES (1, 'a'), (2, repeat(repeat('b', 1000), 400000)), (3, 'c');
SELECT penstock.scan('SELECT id, ''small'' AS small, body, body AS again, body AS third FROM huge ORDER BY id');
-- The rows before it come, in a frame of their own.
SELECT length(penstock.scan('SELECT id, body, body AS again, body AS third FROM huge ORDER BY id', 1)) AS bytes LIMIT 2;
-- In parts it is read.
SELECT count(*) FROM (SELECT penstock.scan('SELECT id, substr(body, 399000001) AS last_part FROM huge')) x;
DROP TABLE huge;

-- Items that are larger as UTF-8 than in their array: 2.3 GB, which is more than offsets can count.
SET client_min_messages = warning;
CREATE DATABASE penstock_latin9 ENCODING 'LATIN9' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c penstock_latin9
CREATE EXTENSION penstock;
-- (The bytes make the row's error come soon.)
SELECT penstock.scan($$
	SELECT b, b AS again, b AS third, array_fill(repeat(chr(164), 1000000), ARRAY[750]) AS euros
	FROM (SELECT convert_to(repeat(repeat('b', 1000), 300000), 'LATIN9') AS b OFFSET 0) x$$);
\c penstock_regress
SET client_min_messages = warning;
DROP DATABASE penstock_latin9;
