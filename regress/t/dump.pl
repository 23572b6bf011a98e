# pg_dump and restore of a database that has the extension.
use strict;
use warnings;
use lib 'regress/t';
use Psql;
use Test::More tests => 9;

$ENV{PGOPTIONS} = '-c client_min_messages=warning';
my ($from, $to) = ('penstock_dump_from', 'penstock_dump_to');
sql_in('postgres', "DROP DATABASE IF EXISTS $_") for $from, $to;
sql_in('postgres', "CREATE DATABASE $_ TEMPLATE template0") for $from, $to;
sql_in($from, 'CREATE EXTENSION penstock');
sql_in($from, 'CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2))');
sql_in($from, q{INSERT INTO orders SELECT i, i / 4.0 FROM generate_series(1, 1000) i});
sql_in($from, q{CREATE VIEW keys AS SELECT penstock.describe('orders')->'primary_key'->'columns' AS columns});

my $dump = `pg_dump -d $from`;
is($?, 0, 'pg_dump succeeds');
like($dump, qr/^CREATE EXTENSION IF NOT EXISTS penstock WITH SCHEMA pg_catalog;$/m, 'the dump has the extension');
unlike($dump, qr/CREATE FUNCTION|CREATE SCHEMA|GRANT/, 'and nothing of what is in it');

open(my $restore, '|-', "psql -Xq -v ON_ERROR_STOP=1 -d $to >/dev/null") or die "psql: $!";
print $restore $dump;
close($restore);
is($?, 0, 'the dump restores');
is(sql_in($to, 'SELECT columns FROM keys'), '["id"]', 'a view that uses a function works');
is(sql_in($to, q{SELECT md5(string_agg(t::text, '')) FROM (SELECT * FROM orders ORDER BY id) t}),
	sql_in($from, q{SELECT md5(string_agg(t::text, '')) FROM (SELECT * FROM orders ORDER BY id) t}), 'the rows are the same');

# Rights that an administrator has changed are dumped with the extension.
sql_in('postgres', "DROP DATABASE $to");
sql_in('postgres', "CREATE DATABASE $to TEMPLATE template0");
sql_in('postgres', 'DROP ROLE IF EXISTS penstock_dump');
sql_in('postgres', 'CREATE ROLE penstock_dump');
sql_in($from, 'REVOKE USAGE ON SCHEMA penstock FROM PUBLIC');
sql_in($from, 'GRANT USAGE ON SCHEMA penstock TO penstock_dump');
sql_in($from, 'REVOKE EXECUTE ON FUNCTION penstock.scan FROM PUBLIC');
sql_in($from, 'GRANT EXECUTE ON FUNCTION penstock.scan TO penstock_dump');
sql_in($from, 'CREATE FUNCTION whole() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM (SELECT penstock.scan($q$TABLE public.orders$q$)) m $$');
my $rights = q{SELECT string_agg(concat_ws(' ', r, has_schema_privilege(r, 'penstock', 'USAGE'),
	has_function_privilege(r, 'penstock.scan(text,int,text,text[],int)', 'EXECUTE'), has_function_privilege(r, 'penstock.doctor()', 'EXECUTE')), ', ' ORDER BY r)
	FROM unnest('{penstock_dump,public}'::text[]) r};
is(system("pg_dump -d $from | psql -Xq -v ON_ERROR_STOP=1 -d $to >/dev/null"), 0, 'a dump with rights restores');
is(sql_in($to, $rights), 'penstock_dump t t t, public f f t', 'and the rights are as they were');
is(sql_in($to, 'SELECT whole()'), '3', 'a function that uses a function works');

sql_in('postgres', "DROP DATABASE $_") for $from, $to;
sql_in('postgres', 'DROP ROLE penstock_dump');
