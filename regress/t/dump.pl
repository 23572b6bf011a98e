# pg_dump and restore of a database that has the extension.
use strict;
use warnings;
use Test::More tests => 6;

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

sql('postgres', "DROP DATABASE $_") for $from, $to;
