# Slots that nobody reads, on a server that keeps little for them: what penstock.slots() and doctor say at each stage.
use strict;
use warnings;
use lib 'regress/t';
use Psql;
use IO::Handle;
use Test::More;

own_server('max_wal_size=32MB', 'min_wal_size=32MB', 'wal_keep_size=0', 'max_slot_wal_keep_size=160MB');
$database = 'penstock_slots';
sql("CREATE DATABASE $database", 'postgres');
sql('CREATE EXTENSION penstock; CREATE TABLE t (id int)');

sub problem { my ($slot) = @_; return sql("SELECT slot ->> 'problem' FROM penstock.slots() slot WHERE slot ->> 'name' = '$slot'"); }
sub remedy { my ($slot) = @_; return sql("SELECT slot ->> 'remedy' FROM penstock.slots() slot WHERE slot ->> 'name' = '$slot'"); }
sub holder { my ($slot) = @_; return sql("SELECT slot #>> '{held_back_by,by}' FROM penstock.slots() slot WHERE slot ->> 'name' = '$slot'"); }
sub doctor { my ($check) = @_; return sql("SELECT status || ': ' || message FROM penstock.doctor() WHERE feature = 'cdc' AND \"check\" = '$check'"); }
sub fix { my ($check) = @_; return sql("SELECT fix FROM penstock.doctor() WHERE feature = 'cdc' AND \"check\" = '$check'"); }
sub write_wal { sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()') for 1 .. $_[0]; }

# Until it is so: the server removes WAL at checkpoints.
sub wait_for
{
	my ($status) = @_;
	for my $try (1 .. 100)
	{
		my $is = sql("SELECT slot ->> 'wal_status' FROM penstock.slots() slot WHERE slot ->> 'name' = 'left'");
		return 1 if $is eq $status;
		last if $is eq 'lost';
		write_wal(1);
		sql('CHECKPOINT') if $status eq 'lost';
	}
	return 0;
}

sql(q{SELECT pg_create_logical_replication_slot(name, 'penstock') FROM unnest('{left,"it''s_not"}'::text[]) name WHERE name = 'left'});
is(problem('left'), '', 'a fresh slot has no problem');
is(remedy('left'), '', 'nor is there anything to do');
write_wal(1);
is(problem('left'), '', 'what the server keeps anyway is none');
is(holder('left'), '', 'nor does anybody hold it back');
write_wal(3);
like(problem('left'), qr/^nobody reads the slot, and the server keeps \d+ MB of WAL for it$/, 'a slot that nobody reads is one');
like(remedy('left'), qr/^SELECT pg_drop_replication_slot\('left'\);$/m, '... and the remedy is a statement');
is(holder('left'), 'nobody', '... which nobody lets go on');
is(doctor('unread slots'), 'reduced: the server keeps WAL for 1 slots that nobody reads: left; penstock slots tells how much',
	'... and doctor tells of');
is(doctor('retention'), 'reduced: a slot that is 160 MB behind is lost (max_slot_wal_keep_size)', '... and that it will be lost');
# No checkpoint by the way.
sql(q{ALTER SYSTEM SET max_wal_size = '10GB'}); sql('SELECT pg_reload_conf()');
ok(wait_for('unreserved'), 'it keeps more than it may');
like(problem('left'), qr/beyond max_slot_wal_keep_size, and the next checkpoint removes it/, '... and is about to be lost');
like(remedy('left'), qr/^ALTER SYSTEM SET max_slot_wal_keep_size = -1;$/m, '... which can be stopped');
ok(wait_for('lost'), 'it is lost');
like(problem('left'), qr/^the slot is lost: WAL that its consumer has not confirmed was removed$/, '... and says so');
like(remedy('left'), qr/^SELECT pg_drop_replication_slot\('left'\);\n-- and begin anew, with a snapshot/, '... and what to do');
sql($_) for grep { !/^--/ } split(/\n/, remedy('left'));
is(sql("SELECT count(*) FROM penstock.slots()"), 0, 'the remedy is what it says');

# A consumer that has everything but what an old transaction may still commit, and one that reads nothing.
open(my $session, '|-', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $database) or die "psql: $!";
$session->autoflush(1);
sql('ALTER SYSTEM RESET max_wal_size');
print $session qq{
SELECT pg_create_logical_replication_slot('held', 'penstock', true), pg_create_logical_replication_slot('slow', 'penstock', true);
BEGIN;
INSERT INTO t VALUES (2);
PREPARE TRANSACTION 'penstock''s old one';
ALTER SYSTEM SET max_slot_wal_keep_size = -1;
SELECT pg_reload_conf();
};
for my $round (1 .. 6)
{
	print $session "INSERT INTO t VALUES (3);\nSELECT pg_switch_wal();\nCHECKPOINT;\nSELECT count(*) FROM pg_logical_slot_get_binary_changes('held', NULL, NULL);\n";
}
print $session "CREATE TABLE told AS SELECT slot FROM penstock.slots() slot;\n";
close($session) or die 'the session failed';
is(sql("SELECT slot #>> '{held_back_by,by}' FROM told WHERE slot ->> 'name' = 'held'"), 'transaction', 'an old transaction holds a slot back');
is(sql("SELECT slot #>> '{held_back_by,gid}' FROM told WHERE slot ->> 'name' = 'held'"), q{penstock's old one}, '... by its name');
is(sql("SELECT slot #>> '{held_back_by,by}' FROM told WHERE slot ->> 'name' = 'slow'"), 'consumer', 'a consumer that does not confirm holds its slot back');
is(sql("SELECT slot ->> 'application' FROM told WHERE slot ->> 'name' = 'slow'"), 'psql', '... and is named');
sql(q{ROLLBACK PREPARED 'penstock''s old one'});

# What only a server of another kind has.
SKIP:
{
	skip 'the server lets slots name any plugin', 3 if sql(q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}) == 0;
	sql(q{ALTER SYSTEM SET output_plugin_libraries = 'pgoutput'});
	restart();
	like(doctor('plugin'), qr/^reduced: plain, by pgoutput: output_plugin_libraries is pgoutput, which leaves the plugin penstock out/, 'a plugin that may not be named');
	is(fix('plugin'), "ALTER SYSTEM SET output_plugin_libraries = pgoutput, penstock;\nSELECT pg_reload_conf();", '... and how it may');
	sql($_) for split(/\n/, fix('plugin'));
	restart();
	like(doctor('plugin'), qr/^ok: assisted/, '... does so');
}
sql(q{SELECT pg_create_physical_replication_slot('one')});
sql('ALTER SYSTEM SET max_replication_slots = 1');
sql('ALTER SYSTEM SET wal_level = replica');
restart();
is(doctor('slots'), 'blocked: 0 of 1 replication slots are free; each capture has one', 'there is no slot left');
like(fix('slots'), qr/^ALTER SYSTEM SET max_replication_slots = 11;\n-- then restart the server$/, '... which can be mended');
is(doctor('wal_level'), 'blocked: wal_level is replica: changes are not in the WAL in a form that can be decoded', 'wal_level is too low');
like(fix('wal_level'), qr/^ALTER SYSTEM SET wal_level = logical;\n-- then restart the server$/, '... and how to raise it');
done_testing();
