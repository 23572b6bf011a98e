# What the output plugin sends for a fixed history, byte by byte: bridge/tests/golden/change/shop.hex, which the
# reader's unit test reads too. PENSTOCK_GOLDEN=write writes it anew.
#
# What differs from run to run is made the same first: xids, LSNs, times, OIDs from 16384 on, file nodes.
use strict;
use warnings;
use lib 'regress/t';
use Psql;
use Test::More;

my $fixture = 'bridge/tests/golden/change/shop.hex';
$database = 'penstock_golden';
sql("DROP DATABASE IF EXISTS $database", 'postgres');
sql("CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", 'postgres');
sql('CREATE DOMAIN price AS numeric(8, 2)');
sql(q{CREATE TYPE mood AS ENUM ('sad', 'so so')});
sql('CREATE TABLE orders (id int PRIMARY KEY, name varchar(300), total price, paid bool NOT NULL, tags text[], prices price[], place point, mood mood, twice bigint GENERATED ALWAYS AS (id * 2) STORED)');
sql('CREATE TABLE lines (id serial PRIMARY KEY, orders int REFERENCES orders, photo bytea)');
sql('ALTER TABLE lines ALTER photo SET STORAGE EXTERNAL');
sql('CREATE TABLE notes (a int, b text); ALTER TABLE notes REPLICA IDENTITY FULL');
sql(q{CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)});
sql(q{SELECT pg_replication_origin_create('north')});
sql(q{SELECT pg_create_logical_replication_slot('penstock_golden', 'penstock')});
sql($_) for (
	q{INSERT INTO orders VALUES (1, 'eins', 12.5, true, '{a,NULL}', '{1,2.25}', '(1,2)', 'so so'), (2, repeat('x', 253), NULL, false, NULL, '{}', NULL, NULL)},
	q{BEGIN; UPDATE orders SET name = 'Übergröße' WHERE id = 2; UPDATE orders SET id = 3 WHERE id = 2; DELETE FROM orders WHERE id = 3; COMMIT},
	q{INSERT INTO lines (orders, photo) SELECT 1, decode(string_agg(md5(i::text), ''), 'hex') FROM generate_series(1, 200) i},
	q{UPDATE lines SET id = 2},
	q{BEGIN; INSERT INTO notes VALUES (1, 'x'); UPDATE notes SET b = NULL; DELETE FROM notes; COMMIT},
	q{SELECT pg_logical_emit_message(false, 'alone', 'now')},
	q{BEGIN; SELECT pg_logical_emit_message(true, 'outbox', 'told'); TRUNCATE orders, lines RESTART IDENTITY CASCADE; COMMIT},
	q{SELECT pg_replication_origin_session_setup('north'); INSERT INTO parts VALUES (5)},
	q{BEGIN; INSERT INTO parts VALUES (6); SAVEPOINT a; INSERT INTO notes VALUES (2); ROLLBACK TO a; TRUNCATE parts_low; COMMIT},
	q{BEGIN; INSERT INTO notes VALUES (1, '7'), (2, '8'); ALTER TABLE notes ALTER b TYPE int USING b::int; COMMIT},
	q{ALTER TABLE notes SET UNLOGGED});

sub messages
{
	return split(/\n/, sql("SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('penstock_golden', NULL, NULL, 'messages', '*'"
		. join('', map { ", '$_'" } @_) . ')'));
}

my (%oids, %files, $transactions);

sub oid { my ($oid) = @_; return $oid if $oid < 16384; $oids{$oid} //= 16384 + keys %oids; return $oids{$oid}; }

# Takes gap and step of a change off the front: the gap as it was, the step's value.
sub take_place
{
	my ($body) = @_;
	my ($gap) = $$body =~ s/^([\x80-\xff]*[\x00-\x7f])//s ? $1 : die;
	my ($step) = $$body =~ s/^([\x80-\xff]*[\x00-\x7f])//s ? $1 : die;
	my ($value, $shift) = (0, 0);
	for my $byte (unpack('C*', $step)) { $value |= ($byte & 0x7f) << $shift; $shift += 7; }
	return ($gap, $value & 1 ? -(($value + 1) >> 1) : $value >> 1);
}

sub columns
{
	my ($rest) = @_;
	my $out = '';
	while (length($rest) > 0)
	{
		my ($form, $flags, $type, $base, $element, $typmod, $name, $type_name, $left) = unpack('C2 N4 n/a n/a a*', $rest);
		$out .= pack('C2 N4 n/a* n/a*', $form, $flags, oid($type), oid($base), oid($element), $typmod, $name, $type_name);
		$rest = $left;
	}
	return $out;
}

# One message with what differs made the same; LSNs must lie where they can.
my $commit_lsn;
my $lsns = 0;

sub normalized
{
	my ($message) = @_;
	my ($out, $lsn) = (substr($message, 0, 1), 0);
	my $rest = substr($message, 1);
	while (length($rest) > 0)
	{
		my ($kind, $body, $left) = unpack('a N/a a*', $rest);
		$rest = $left;
		if ($kind eq 'B')
		{
			(my $xid, $commit_lsn, my $time, my $origin) = unpack('Q> Q> q> n/a', $body);
			$lsn = $commit_lsn;
			$transactions++;
			$body = pack('Q> Q> q> n/a*', (1 << 32) + $transactions, 0x1000 * $transactions, -$transactions, $origin);
		}
		elsif ($kind eq 'C')
		{
			my ($end, $n) = unpack('Q> Q>', $body);
			$lsns++ if $end <= $commit_lsn;
			$body = pack('Q> Q>', 0x1000 * $transactions + 0x30, $n);
		}
		elsif ($kind eq 'R')
		{
			my ($index, $oid, $leaf, $file, $kinds, $schema, $name, $columns) = unpack('n N3 a3 n/a n/a a*', $body);
			$files{$file} //= 32768 + keys %files;
			$body = pack('n N3 a3 n/a* n/a* a*', $index, oid($oid), oid($leaf), $files{$file}, $kinds, $schema, $name, columns($columns));
		}
		elsif ($kind eq 'M' && substr($body, 0, 1) eq "\0")
		{
			substr($body, 1, 8) = pack('Q>', 0x4000);
		}
		elsif ($kind =~ /[IUDTM]/)
		{
			my $head = substr($body, 0, $kind eq 'T' ? 0 : $kind eq 'M' ? 1 : 3, '');
			my ($gap, $step) = take_place(\$body);
			$lsn += $step;
			$lsns++ if $lsn > $commit_lsn || $lsn < $commit_lsn - (64 << 20);
			$body = "$head$gap\0$body";
		}
		else { die "record $kind"; }
		$out .= pack('a N/a*', $kind, $body);
	}
	return $out;
}

my @got = map { unpack('H*', normalized(pack('H*', $_))) } messages();
%files = %oids = ();
$transactions = 0;
push(@got, map { unpack('H*', normalized(pack('H*', $_))) } messages('include', 'public.parts', 'partitions', 'root', 'origin', 'any'));
is($lsns, 0, 'a change lies before its commit, and the transaction ends behind it');
if (($ENV{PENSTOCK_GOLDEN} // '') eq 'write')
{
	open(my $out, '>', $fixture) or die "$fixture: $!";
	print $out "$_\n" for @got;
	close($out);
}
open(my $in, '<', $fixture) or die "$fixture: $!";
chomp(my @want = <$in>);
is(scalar(@got), scalar(@want), 'as many messages as in the fixture');
is($got[$_], $want[$_], 'message ' . ($_ + 1) . ' is that of the fixture') for 0 .. $#want;

open(my $page, '<', 'docs/wire.md') or die "docs/wire.md: $!";
my ($shown, $in_order) = ('', 1);
while (<$page>)
{
	next if !(/^# Change records/ .. eof) || !/^\| (\d+) \| `([0-9a-f ]+)` \|/;
	$in_order &&= length($shown) == 2 * $1;
	$shown .= $2 =~ s/ //gr;
}
is($shown, $want[7], 'the page shows message 8');
ok($in_order, '... each byte in its place');
sql(q{SELECT pg_drop_replication_slot('penstock_golden')});
sql(q{SELECT pg_replication_origin_drop('north')});
sql("DROP DATABASE $database", 'postgres');
done_testing();
