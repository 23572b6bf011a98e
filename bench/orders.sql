-- The table that is read and copied. psql -v rows=N -f orders.sql; no random(), so that every run and
-- every machine has the same rows.
CREATE TABLE orders (
    id bigint NOT NULL,
    customer int NOT NULL,
    placed timestamptz NOT NULL,
    status text NOT NULL,
    amount numeric(12,2) NOT NULL,
    quantity int NOT NULL,
    weight float8,
    paid bool NOT NULL,
    note text
);
INSERT INTO orders
SELECT i,
       (i * 7919) % 250007,
       timestamptz '2020-01-01 00:00:00+00' + i * interval '41.7 s',
       (ARRAY['new', 'paid', 'packed', 'shipped', 'returned'])[1 + (i * 31) % 5],
       ((i * 104729) % 100000000)::numeric / 100,
       1 + (i * 13) % 20,
       CASE WHEN i % 50 <> 0 THEN ((i * 6151) % 1000003) / 7.0 END,
       i % 3 <> 0,
       CASE WHEN i % 20 <> 0 THEN 'note ' || substr(md5(i::text), 1, 4 + (i % 9)::int) END
FROM generate_series(1, :rows::bigint) AS i;
