# Options of the output plugin that nobody would give: each is an answer or an error of a documented kind, and the server
# lives.
use strict;
use warnings;
use lib 'regress/t';
use File::Temp 'tempdir';
use Psql;
use Test::More;

my $rounds = $ENV{PENSTOCK_ROUNDS} || 1500;
$database = 'penstock_options';
sql("DROP DATABASE IF EXISTS $database", 'postgres');
sql("CREATE DATABASE $database", 'postgres');
sql("CREATE TABLE \"a.b\" (id int PRIMARY KEY, \"c,\"\"d\" text); CREATE TABLE t (id int PRIMARY KEY, v text)");
sql("SELECT pg_create_logical_replication_slot('penstock_options', 'penstock')");
sql("INSERT INTO \"a.b\" VALUES (1, 'x'); INSERT INTO t VALUES (1, 'y'); SELECT pg_logical_emit_message(true, 'a.b', 'c'); TRUNCATE t");

srand(7);
my @names = (qw(version include exclude columns exclude_columns messages operations origin partitions message_bytes includes INCLUDE), '', "\x{c3}\x{a9}");
my @words = ('1', '2', 'any', 'none', 'leaf', 'root', 'insert', 'update', 'insert,delete', 'insert,,', 'public.*', '*.*', '*', '**.?', 'public.t', 'public."a.b"',
	'public.t.id', '*.*.*', '"', '""', '"".""', '.', '..', ',', ' ', '/', '//', '/.*/', '/(/', '/a{1,9999}/', '/[[:alpha:]]+/', '/(a*)*b/', '/\\/', '/\\//', '\\', '\\x',
	'*' x 60 . '.' . '*a' x 60, 'a' x 100000, '"' . 'a' x 70000 . '".*', '99999999999999999999', '-1', '0', '16777216', '16777217', ' 5', '5 ', "\x01", "\x01*.*", 'é.日', "\n", 'null');
sub pick { return $_[int(rand(@_))]; }
sub value { my $text = ''; $text .= pick(@words, @words, ',', '.', ' ') for 1 .. 1 + int(rand(3)); return rand() < 0.03 ? undef : $text; }
sub literal { my ($text) = @_; return 'NULL' if !defined($text); $text =~ s/'/''/g; $text =~ s/\\/\\\\/g; return "E'$text'"; }

my $folder = tempdir(CLEANUP => 1);
open(my $script, '>', "$folder/script") or die;
print $script "\\set VERBOSITY sqlstate\nSET statement_timeout = '20s';\n";
for (1 .. $rounds)
{
	my %options;
	$options{pick(@names)} = value() for 1 .. 1 + int(rand(3));
	my $list = join(', ', map { literal($_) . ', ' . literal($options{$_}) } keys %options);
	print $script "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('penstock_options', NULL, NULL, $list);\n";
}
close($script);
my $answers = qx{PGCLIENTENCODING=UTF8 psql -XqAt -d $database -f $folder/script 2>&1};
my (%states, $answered);
for my $line (split(/\n/, $answers))
{
	if ($line =~ /ERROR: +(\w+)$/) { $states{$1}++; }
	elsif ($line =~ /^\d+$/) { $answered++; }
	else { $states{$line}++; }
}
# Wrong options, regular expressions and arrays with NULLs.
is(join(' ', grep { !/^(22023|2201B|0A000)$/ } sort keys %states), '', 'what is not understood is an error that says so');
cmp_ok($answered, '>', $rounds / 50, '... and what is understood is answered');
cmp_ok($states{22023} // 0, '>', $rounds / 10, '... as is most of it not');
sql("SELECT pg_drop_replication_slot('penstock_options')");
sql("DROP DATABASE $database", 'postgres');
done_testing();
