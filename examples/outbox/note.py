#!/usr/bin/env python3
"""Changes a note and tells of it in the same transaction: note.py ID BODY.

DATABASE_URL names the database that your tables share with Tidings.
"""

import os
import sys

import psycopg
from psycopg.types.json import Jsonb


def change(url: str, id: int, body: str) -> None:
    with psycopg.connect(url) as connection:  # commits at the end, rolls back on an exception
        connection.execute("UPDATE notes SET body = %s WHERE id = %s", (body, id))
        connection.execute(
            "SELECT tidings.publish('acme', 'note.changed', %s, subject => %s)",
            (Jsonb({"words": len(body.split())}), f"note/{id}"),
        )
        connection.execute(
            "SELECT tidings.enqueue('acme', 'embedding', %s, unique_key => %s)",
            (Jsonb({"note": id}), f"note/{id}"),
        )


if __name__ == "__main__":
    change(os.environ["DATABASE_URL"], int(sys.argv[1]), sys.argv[2])
