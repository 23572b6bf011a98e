"""The statements of penstock.upsert_sql and delete_sql in a driver: what docs/apply.md shows."""
import pathlib

import pytest

pytestmark = pytest.mark.extension


def test_the_manuals_lines_write_by_psycopg(module_database, monkeypatch):
    db = module_database
    db.execute("CREATE EXTENSION IF NOT EXISTS penstock")
    db.execute("CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, tags text[], total numeric(10,2))")
    db.execute("INSERT INTO orders VALUES (2, 'Bob', '{}', 98.90), (3, 'Eve', '{gift}', NULL)")
    page = (pathlib.Path(__file__).resolve().parents[3] / "docs/apply.md").read_text()
    monkeypatch.setenv("PGDATABASE", db.name)
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/apply.md", "exec"), {})
    assert [tuple(map(str, row)) for row in db.execute("SELECT * FROM orders ORDER BY id")] == [
        ("2", "Bob", "['a', 'b']", "97.40"), ("4", "Zoë", "None", "None")]
