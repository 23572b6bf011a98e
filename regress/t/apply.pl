# The example of docs/apply.md gives what stands there.
use strict;
use warnings;
use Test::More tests => 2;

$ENV{PGOPTIONS} = '-c client_min_messages=warning';
open(my $file, '<', 'docs/apply.md') or die "docs/apply.md: $!";
my $page = do { local $/; <$file> };
my ($example) = $page =~ /^```sql\n(.*?)^```$/ms or die 'no example';
my ($answer) = $page =~ /^```text\n(.*?)^```$/ms or die 'no answer';

my $database = 'penstock_apply_example';
system(qw(psql -Xq -d postgres -c), "DROP DATABASE IF EXISTS $database") == 0 or die;
system(qw(psql -Xq -d postgres -c), "CREATE DATABASE $database") == 0 or die;
system(qw(psql -Xq -c), 'CREATE EXTENSION penstock', '-d', $database) == 0 or die;

open(my $psql, '|-', "psql -Xq -v ON_ERROR_STOP=1 -d $database >build/regress/apply_example.out") or die "psql: $!";
print $psql $example;
close($psql);
is($?, 0, 'the example runs');
open(my $out, '<', 'build/regress/apply_example.out') or die "build/regress/apply_example.out: $!";
my $got = do { local $/; <$out> };
$got =~ s/ +$//mg;
$got =~ s/\n+\z/\n/;
unlink 'build/regress/apply_example.out';
is($got, $answer, 'and gives what the page says');
system(qw(psql -Xq -d postgres -c), "DROP DATABASE $database");
