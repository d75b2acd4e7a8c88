//! Planted secrets, each with what must not be seen of it; and sentences that must stay.

use super::{MESSAGE_MAX, scrub};

/// (what is planted, the raw text, what must not survive).
const PLANTED: &[(&str, &str, &[&str])] = &[
    // SQL
    (
        "a query",
        "ERROR: relation missing in SELECT id, email FROM users WHERE id = 7",
        &["SELECT", "users", "email"],
    ),
    ("a lower-case query", "near \"form\": select name, salary from employees", &["salary", "employees"]),
    ("select star", "failed: select * from accounts", &["accounts"]),
    ("one column", "failed: select salary from employees", &["salary"]),
    ("aliases", "failed: select u.name n from users u", &["u.name"]),
    ("an insert", "INSERT INTO payments (card) VALUES ('4111111111111111')", &["payments", "4111"]),
    ("an update", "could not run update users set password='x' where id=3", &["users set", "password='x'"]),
    ("a delete", "timeout: DELETE FROM sessions", &["sessions"]),
    ("a lower-case delete", "timeout: delete from sessions where age > 3", &["sessions"]),
    ("a table", "DROP TABLE students; --", &["students"]),
    ("a common table expression", "with t as (select 1) insert into x values (1)", &["select", "insert"]),
    ("a where", "bad row WHERE ssn = '123-45-6789'", &["ssn", "6789"]),
    ("quoted SQL", "error executing \"SELECT a FROM b\" on server", &["FROM b"]),
    ("SQL after a placeholder", "[path]: TRUNCATE TABLE audit", &["audit"]),
    // Paths
    ("a unix path", "open /etc/passwd: permission denied", &["etc", "passwd"]),
    (
        "in quotes with spaces",
        "can't open '/home/ana/My Secret Plans.txt' for reading",
        &["ana", "Secret", "Plans"],
    ),
    (
        "without quotes with spaces",
        "no such file: /Users/ana/Application Support/App/db.sqlite",
        &["ana", "Support", "sqlite"],
    ),
    ("in parentheses", "missing file (/var/lib/tidings/data.db)", &["var", "data.db"]),
    ("after an equals sign", "path=/srv/tenants/acme/key.pem", &["srv", "acme", "key.pem"]),
    ("a home folder", "cannot read ~/.ssh/id_rsa", &["ssh", "id_rsa"]),
    ("another's home folder", "cannot read ~deploy/.env", &["deploy", ".env"]),
    ("a variable", "cannot read $HOME/.aws/credentials", &["HOME", "aws"]),
    ("a relative path", "error in ./config/prod.toml", &["config", "prod"]),
    ("up and over", "include ../../secrets/prod.yml failed", &["secrets/", "prod"]),
    ("a source path", "assertion failed at src/jobs/mod.rs:10:5", &["src", "mod.rs"]),
    ("a source file alone", "assertion failed at main.rs:10:5", &["main.rs"]),
    ("windows", r"cannot find C:\Users\ana\AppData\x.dll", &["Users", "ana", "x.dll"]),
    (
        "windows with spaces",
        r"cannot find C:\Program Files (x86)\Acme Corp\secret.exe now",
        &["Program", "Acme", "secret.exe"],
    ),
    ("windows with slashes", "cannot find D:/data/tenants/acme.db", &["tenants", "acme"]),
    ("windows escaped", r#"{"path":"C:\\Users\\ana\\x.txt"}"#, &["Users", "ana", "x.txt"]),
    ("a share", r"cannot reach \\fileserver\finance\q3.xlsx", &["fileserver", "finance", "q3"]),
    ("a registry key", r"HKEY_LOCAL_MACHINE\Software\Acme", &["Software", "Acme"]),
    ("a file URL", "cannot load file:///home/ana/index.html", &["home", "ana"]),
    ("full-width slashes", "open ／etc／shadow failed", &["etc", "shadow"]),
    ("division slashes", "open ∕etc∕shadow failed", &["shadow"]),
    ("unicode names", "open /home/žofie/účty.txt failed", &["žofie", "účty"]),
    // Addresses
    ("an IPv4 address", "connect to 10.1.2.3 refused", &["10.1.2.3", "10."]),
    ("with a port", "dial tcp 192.168.0.17:5432: refused", &["192", "5432"]),
    ("in brackets and quotes", "peer (\"172.16.9.9\") left", &["172", "9.9"]),
    ("of a cloud host", "host ip-10-0-12-7 is down", &["10-0-12-7"]),
    ("full-width digits", "connect to １０．１．２．３ refused", &["１０", "．３"]),
    ("mathematical digits", "connect to 𝟏𝟎.𝟏.𝟐.𝟑 refused", &["𝟏𝟎", "𝟑"]),
    ("an invisible letter in it", "connect to 10.1\u{200b}.2.3 refused", &["10.1", "2.3"]),
    ("an IPv6 address", "connect to 2001:db8::8a2e:370:7334 refused", &["2001", "7334"]),
    ("in full", "from 2001:0db8:85a3:0000:0000:8a2e:0370:7334", &["85a3", "0370"]),
    ("with a port in brackets", "dial [fe80::1%eth0]:443 failed", &["fe80", "eth0", "443"]),
    ("mapped", "from ::ffff:10.0.0.1 refused", &["ffff", "10.0"]),
    ("loopback", "bind ::1 failed", &["::1"]),
    ("a hardware address", "no carrier on 02:42:ac:11:00:02", &["42:ac"]),
    ("a host and port", "connection to db-primary:5432 lost", &["db-primary", "5432"]),
    ("localhost and port", "connection to localhost:6379 lost", &["localhost", "6379"]),
    ("a host", "getaddrinfo ENOTFOUND vault.prod.acme.internal", &["vault", "acme", "internal"]),
    ("a cluster host", "no route to tidings-0.tidings.default.svc.cluster.local", &["tidings-0", "svc"]),
    ("a host with ideographic dots", "no route to vault。acme。com", &["vault", "acme"]),
    // URLs
    ("a URL", "GET https://internal.acme.com/admin?key=v failed", &["acme", "admin", "key=v"]),
    ("with a password", "postgres://ana:hunter2@db.acme.com:5432/prod refused", &["hunter2", "ana", "prod"]),
    ("of JDBC", "jdbc:postgresql://db/prod?user=ana&password=x refused", &["jdbc", "prod", "ana"]),
    ("in JSON", r#"{"url":"https:\/\/acme.com\/x","status":500}"#, &["acme", "\\/x"]),
    ("encoded", "redirect to https%3A%2F%2Facme.com%2Fcb failed", &["acme", "cb"]),
    ("a bucket", "NoSuchKey: s3://acme-backups/2026/dump.gz", &["acme-backups", "dump"]),
    ("in angle brackets", "see <https://wiki.acme.com/x> for more", &["wiki", "acme"]),
    // E-mail
    ("an address", "no mailbox for ana.b+test@acme.com", &["ana", "acme"]),
    ("in brackets", "sender <ana@acme.com> rejected", &["ana", "acme"]),
    ("encoded", "no user ana%40acme.com", &["ana", "acme"]),
    ("a full-width at", "no mailbox for ana＠acme.com", &["ana", "acme"]),
    ("without a dot", "no mailbox for root@mailhost", &["root", "mailhost"]),
    ("with a quoted name", "no mailbox for \"ana b\"@acme.com", &["ana", "acme"]),
    ("at an address", "no mailbox for ana@[10.0.0.1]", &["ana", "10.0"]),
    ("of a unique key", "Key (email)=(ana@acme.com) already exists.", &["ana", "acme"]),
    // Tokens
    ("a JWT", "bad token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl", &["eyJ", "c2ln"]),
    ("a short JWT", "got eyJhbGciOiJub25lIn0.e30.", &["eyJ", "e30"]),
    ("a bearer", "Authorization: Bearer abc.def", &["abc", "def"]),
    ("a bearer in a sentence", "upstream refused Bearer s3cr3t-x", &["s3cr3t"]),
    ("basic", "upstream refused Basic YW5hOmh1bnRlcjI=", &["YW5h"]),
    (
        "an API key of ours",
        "key tdk_0123456789abcdef0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        &["0123", "AAAA"],
    ),
    ("a ticket of ours", "refused tdt_AbCdEf.GhIj", &["AbCd", "GhIj"]),
    ("a cloud key", "key AKIAIOSFODNN7EXAMPLE is disabled", &["AKIA", "7EXAMPLE"]),
    ("a cloud secret", "signed with wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &["wJalr", "K7MD", "bPxR"]),
    ("a payment key", "No such key: sk_live_4eC39HqLyjWD", &["4eC39"]),
    ("a digest", "checksum 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b differs", &["9f86", "4f1b"]),
    ("a UUID", "no such session 7c9e6679-7425-40de-944b-e07fc1f90ae7", &["7c9e", "0ae7"]),
    ("a pointer", "fault at 0x7ffeefbff5c8", &["7ffe"]),
    ("a private key", "-----BEGIN RSA PRIVATE KEY----- MIIEow", &["MIIE", "BEGIN"]),
    ("a password", "login failed: password=hunter2", &["hunter2"]),
    ("with a colon", "login failed, password: hunter2", &["hunter2"]),
    ("in JSON", r#"bad request {"user":"x","password":"hun ter2","n":1}"#, &["hun", "ter2"]),
    ("in escaped JSON", r#"bad request "{\"api_key\":\"hun ter2\"}""#, &["hun", "ter2"]),
    ("single quotes", "connect(password='hunter2', db='x')", &["hunter2"]),
    ("a flag", "usage: run --password hunter2 --verbose", &["hunter2"]),
    ("an arrow", "{:secret_token=>\"hunter2\"}", &["hunter2"]),
    ("an environment variable", "AWS_SECRET_ACCESS_KEY=hunter2 is not set up", &["hunter2"]),
    ("two words", "api key: hunter2", &["hunter2"]),
    ("a sentence", "the password is hunter2", &["hunter2"]),
    ("quoted in a sentence", "wrong password \"hunter2\" for x", &["hunter2"]),
    ("in XML", "<Password>hunter2</Password> rejected", &["hunter2"]),
    ("a cookie", "Cookie: sid=abc; theme=dark", &["abc", "dark"]),
    ("an invisible letter in the name", "pass\u{200d}word=hunter2", &["hunter2"]),
    ("full-width letters in the name", "ｐａｓｓｗｏｒｄ＝hunter2", &["hunter2"]),
    ("Cyrillic letters in the name", "pаsswоrd=hunter2", &["hunter2"]),
    ("colours between", "\u{1b}[31mpassword\u{1b}[0m=hunter2", &["hunter2"]),
    // Traces
    (
        "Rust",
        "thread 'main' panicked at src/main.rs:4:5:\nboom\nstack backtrace:\n   0: std::panicking::begin",
        &["main.rs", "panicking"],
    ),
    ("Rust, older", "thread 'main' panicked at 'boom', src/main.rs:4:5", &["main.rs"]),
    (
        "Python",
        "Traceback (most recent call last):\n  File \"/app/x.py\", line 3, in run\n    do(1)\nValueError: boom",
        &["x.py", "run", "do(1)"],
    ),
    ("Python in a line", "boom File \"x.py\", line 3, in run", &["x.py", "run"]),
    (
        "Java",
        "\tat com.acme.Job.run(Job.java:12)\njava.lang.IllegalStateException: boom\n\tat com.acme.X.y(X.java:1)",
        &["Job.run", "Job.java", "X.java"],
    ),
    (
        "Java in a line",
        "boom at com.acme.Job.run(Job.java:12) at com.acme.Main.main(Main.java:3)",
        &["acme", "Main"],
    ),
    ("JavaScript", "TypeError: boom\n    at Object.<anonymous> (/app/index.js:1:7)", &["index.js", "Object"]),
    (
        "JavaScript in JSON",
        r#"{"stack":"boom\n    at run (/app/index.js:1:7)\n    at main (x.js:2:2)"}"#,
        &["index.js", "x.js", "at main"],
    ),
    ("C# in a line", r"boom at Acme.Job.Run() in C:\src\Job.cs:line 12", &["Acme.Job", "Job.cs"]),
    ("Go", "goroutine 1 [running]:\nmain.run(0xc000012345)", &["0xc0000"]),
    ("Ruby", "/app/job.rb:12:in `perform': boom", &["job.rb", "perform"]),
    ("only a trace", "\tat com.acme.Job.run(Job.java:12)", &["acme", "Job"]),
];

#[test]
fn planted_secrets_do_not_survive() {
    assert!(PLANTED.len() >= 60);
    for (name, raw, secrets) in PLANTED {
        let clean = scrub(raw);
        for secret in *secrets {
            assert!(!clean.contains(secret), "{name}: {secret:?} survives in {clean:?}");
        }
        assert_eq!(scrub(&clean), clean, "{name}: not settled");
    }
}

#[test]
fn ordinary_sentences_stay() {
    for sentence in [
        "model overloaded, try later",
        "Please select a file from the list and try again.",
        "could not delete from the cache",
        "The server was unable to update the index; set it up again",
        "invalid token",
        "token expired",
        "bearer token missing",
        "the password is wrong",
        "password is too short",
        "Basic authentication is required",
        "expected 3 columns, found 4 at line 12, column 7",
        "upstream answered with status 503 after 3 retries (limit: 3)",
        "exit code: 137 (out of memory)",
        "job took 12:30:45, more than 30m",
        "deadline passed at 2026-11-23T07:12:09Z",
        "read/write and/or TCP/IP: 24/7, 3/4 done, 23/11/2026",
        "content type application/json is not supported",
        "note/42 was not found",
        "IndexOutOfBoundsException: index 4, size 3",
        "max_connections_per_tenant_exceeded",
        "model text-embedding-3-small-2024-01-25 is not available",
        "sha256 differs; utf8 expected",
        "std::io::Error: unexpected end of file",
        "java.lang.NullPointerException",
        "unexpected character '}' in the input (e.g. a bracket)",
        "duplicate key value violates unique constraint \"users_email_key\"",
        "disk is 97 % full: 3.5 of 3.6 TB used, version 1.2.3",
        "模型过载,请稍后再试。",
        "Модель перегружена, попробуйте позже",
        "Größe überschritten – bitte später erneut",
        "❌ failed: 5 > 3 && x",
    ] {
        assert_eq!(scrub(sentence), sentence);
    }
}

#[test]
fn what_stays_around_a_secret_is_readable() {
    for (raw, clean) in [
        ("open /etc/passwd: permission denied", "open [path]: permission denied"),
        ("dial tcp 192.168.0.17:5432: refused", "dial tcp [ip]: refused"),
        ("sender <ana@acme.com> rejected", "sender <[email]> rejected"),
        ("login failed: password=hunter2", "login failed: password=[secret]"),
        ("GET https://acme.com/x failed", "GET [url] failed"),
        ("timeout: DELETE FROM sessions", "timeout: [sql]"),
        ("connection to db-primary:5432 lost", "connection to [host] lost"),
        ("TypeError: boom\n    at Object.<anonymous> (/app/index.js:1:7)", "TypeError: boom"),
        ("Traceback (most recent call last):\n  File \"x.py\", line 3\nValueError: boom", "ValueError: boom"),
        ("thread 'main' panicked at src/main.rs:4:5:\nmodel overloaded", "model overloaded"),
        ("\n\n  \n\tboom\nmore", "boom"),
        ("boom at com.acme.Job.run(Job.java:12)", "boom [trace]"),
    ] {
        assert_eq!(scrub(raw), clean);
    }
}

#[test]
fn a_message_is_one_line_of_three_hundred_letters() {
    assert_eq!(scrub(""), "");
    assert_eq!(scrub(" \n\u{200b}\n"), "");
    let long = "word ".repeat(2_000);
    let clean = scrub(&long);
    assert!(clean.chars().count() <= MESSAGE_MAX && clean.starts_with("word word"));
    assert_eq!(scrub(&clean), clean);
    // A token beyond what is looked at must not come in by pieces, however much is taken out before it.
    let secret = "Zx9".repeat(2_000);
    assert!(!scrub(&format!("{} {secret}", "https://a.b/c ".repeat(290))).contains("Zx9"));
    assert!(!scrub(&secret).contains("Zx9"));
    // The cut does not go through a placeholder.
    let cut = scrub(&format!("{} /etc/passwd", "x y ".repeat(74)));
    assert!(!cut.contains("[p"), "{cut}");
}
