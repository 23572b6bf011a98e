# pg_dump and restore of a database that has the extension.
use strict;
use warnings;
use Test::More tests => 9;

sub sql
{
	my ($database, $statement) = @_;
	open(my $psql, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-c', $statement) or die "psql: $!";
	my $answer = do { local $/; <$psql> };
	close($psql) or die "failed: $statement";
	chomp $answer;
	return $answer;
}

$ENV{PGOPTIONS} = '-c client_min_messages=warning';
my ($from, $to) = ('penstock_dump_from', 'penstock_dump_to');
sql('postgres', "DROP DATABASE IF EXISTS $_") for $from, $to;
sql('postgres', "CREATE DATABASE $_ TEMPLATE template0") for $from, $to;
sql($from, 'CREATE EXTENSION penstock');
sql($from, 'CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2))');
sql($from, q{INSERT INTO orders SELECT i, i / 4.0 FROM generate_series(1, 1000) i});
sql($from, q{CREATE VIEW keys AS SELECT penstock.describe('orders')->'primary_key'->'columns' AS columns});

my $dump = `pg_dump -d $from`;
is($?, 0, 'pg_dump succeeds');
like($dump, qr/^CREATE EXTENSION IF NOT EXISTS penstock WITH SCHEMA pg_catalog;$/m, 'the dump has the extension');
unlike($dump, qr/CREATE FUNCTION|CREATE SCHEMA|GRANT/, 'and nothing of what is in it');

open(my $restore, '|-', "psql -Xq -v ON_ERROR_STOP=1 -d $to >/dev/null") or die "psql: $!";
print $restore $dump;
close($restore);
is($?, 0, 'the dump restores');
is(sql($to, 'SELECT columns FROM keys'), '["id"]', 'a view that uses a function works');
is(sql($to, q{SELECT md5(string_agg(t::text, '')) FROM (SELECT * FROM orders ORDER BY id) t}),
	sql($from, q{SELECT md5(string_agg(t::text, '')) FROM (SELECT * FROM orders ORDER BY id) t}), 'the rows are the same');

# Rights that an administrator has changed are dumped with the extension.
sql('postgres', "DROP DATABASE $to");
sql('postgres', "CREATE DATABASE $to TEMPLATE template0");
sql('postgres', 'DROP ROLE IF EXISTS penstock_dump');
sql('postgres', 'CREATE ROLE penstock_dump');
sql($from, 'REVOKE USAGE ON SCHEMA penstock FROM PUBLIC');
sql($from, 'GRANT USAGE ON SCHEMA penstock TO penstock_dump');
sql($from, 'REVOKE EXECUTE ON FUNCTION penstock.scan FROM PUBLIC');
sql($from, 'GRANT EXECUTE ON FUNCTION penstock.scan TO penstock_dump');
sql($from, 'CREATE FUNCTION whole() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM (SELECT penstock.scan($q$TABLE public.orders$q$)) m $$');
my $rights = q{SELECT string_agg(concat_ws(' ', r, has_schema_privilege(r, 'penstock', 'USAGE'),
	has_function_privilege(r, 'penstock.scan(text,int,text,text[],int)', 'EXECUTE'), has_function_privilege(r, 'penstock.doctor()', 'EXECUTE')), ', ' ORDER BY r)
	FROM unnest('{penstock_dump,public}'::text[]) r};
is(system("pg_dump -d $from | psql -Xq -v ON_ERROR_STOP=1 -d $to >/dev/null"), 0, 'a dump with rights restores');
is(sql($to, $rights), 'penstock_dump t t t, public f f t', 'and the rights are as they were');
is(sql($to, 'SELECT whole()'), '3', 'a function that uses a function works');

sql('postgres', "DROP DATABASE $_") for $from, $to;
sql('postgres', 'DROP ROLE penstock_dump');
