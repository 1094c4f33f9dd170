"""Forms of secrets of services, tools and languages of today, and what only looks like one."""

from __future__ import annotations

import base64
import gzip
import json
from html import escape
from urllib.parse import quote

import pytest

from observability import redact
from observability.encode import to_json
from observability.redact import MASK, add_secret, is_clean, text
from observability.secrets_names import NAME_FILTER
from observability.secrets_rules import RULE_FILTER

A = "aB3dE6fG9hJ2kL5mN8pQ"
H = "0123456789abcdef"
L = "abcdefghijklmnopqrstuvwxyz"


def b(given):
    return base64.b64encode(given.encode()).decode()


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    redact._forget_rules()
    yield
    redact._forget_rules()


FORMS = {
    "an organisation of Hugging Face": ("api_org_" + L + "ABCDEFGH", L),
    "an encrypted JWT": (
        "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji.XFBoMYUZodetZdvTiFvSkQ",
        "OKOawDo13gRp2ojaHV7",
    ),
    "lftp": ("lftp -u ann,hunter2 sftp://h", "hunter2"),
    "a login of Docker whose length is no multiple of three": (
        '{"auths":{"https://index.docker.io/v1/":{"auth":"' + b("ann:hunter2") + '"}}}',
        b("ann:hunter2")[:8],
    ),
    "Docker's configuration in base64": (
        ".dockerconfigjson: " + b('{"auths":{"r":{"auth":"YTpi"}}}'),
        b('{"auths":{"r":{"auth":"YTpi"}}}')[4:20],
    ),
    "a line of .pgpass for Redshift": ("db.x.org:5439:d:u:hunter2", "hunter2"),
    "curl's options in one": ("curl -sSfuann:hunter2 https://x", "hunter2"),
    "curl as a list of arguments": ("['curl', '-u', 'ann:hunter2', 'https://x']", "hunter2"),
    "HTTPie": ("http -a ann:hunter2 GET https://x", "hunter2"),
    "a variable of Terraform": ('variable "db_password" { default = "hunter2" }', "hunter2"),
    "the body of an EC key": (
        "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49AwEHoUQDQgAE",
        "IIrYSSNQFaA2Hwf1",
    ),
    "the body of an Ed25519 key": (
        "MC4CAQAwBQYDK2VwBCIEIHSZ0qkPoQnk9kHq8FfzUxYtCqYyP0hrnj2mVrr3VvAq",
        "HSZ0qkPoQnk9kH",
    ),
    "CDATA": ("<password><![CDATA[hunter2]]></password>", "hunter2"),
    "XML within XML": ("&lt;password&gt;hunter2&lt;/password&gt;", "hunter2"),
    "a constant of PHP": ("define('DB_PASSWORD', 'hunter2');", "hunter2"),
    "a call that sets a variable": ('os.putenv("DB_PASSWORD", "hunter2")', "hunter2"),
    "a pair": ("('password', 'hunter2')", "hunter2"),
    "a header in bytes": ("(b'x-api-key', b'hunter2abc')", "hunter2abc"),
    "an arrow": ("password -> hunter2", "hunter2"),
    "an address within an address": ("next=https%3A%2F%2Fh%2F%3Fapi_key%3Dhunter2abc%26x", "hunter2abc"),
    "an address within two addresses": ("x=https%253A%252F%252Fh%253Fapi_key%253Dhunter2abc%2526", "hunter2abc"),
    "a login in an address within another": ("url=postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb", "hunter2"),
    "a login in JSON of PHP": ('"uri":"postgres:\\/\\/u:hunter2@h\\/db"', "hunter2"),
    "aws bedrock alone": ("key ABSKQmVkcm9ja0FQSUtleS1" + A * 4, A),
    "azure devops": ("AZURE_DEVOPS_EXT_PAT=" + A * 2, A),
    "azure func": ("https://x.azurewebsites.net/api/f?code=" + A * 2 + "==", A),
    "slack xoxc": ("xoxc-1234567890-1234567890-" + A, A),
    "slack xoxd": ("xoxd-" + A * 3, A),
    "slack xwfp": ("xwfp-1234567890-1234567890-" + A, A),
    "discord bot": ("Authorization: Bot MTA" + A + ".Gabcde." + A * 2, A),
    "discord mfa": ("mfa." + A * 4, A),
    "telegram bare": ("bot token 123456789:AAH" + A + A[:12], A),
    "pagerduty routing": ('"routing_key": "' + H * 2 + '"', H),
    "pagerduty integration": ("integration_key: " + H * 2, H),
    "opsgenie": ("GenieKey 0123abcd-4567-89ab-cdef-0123456789ab", "4567-89ab"),
    "datadog app": ("DD_APP_KEY=" + H * 2 + "01234567", H),
    "newrelic ingest alone": (H * 2 + "1234FFFFNRAL", H),
    "honeycomb": ("x-honeycomb-team: " + A, A),
    "honeycomb key": ("hcaik_" + L * 3, L),
    "dbt cloud": ("dbtc_" + A * 2, A),
    "dbt u": ("dbtu_" + A * 2, A),
    "confluent cflt": ("cflt" + A * 3, A),
    "neon": ("napi_" + L * 2 + "0123456789", L),
    "supabase": ("sb_secret_" + A + "_abcdefgh", A),
    "vercel": ("vercel_blob_rw_" + A + "_" + A, A),
    "vercel token": ("vcp_" + A * 3, A),
    "fly": ("FlyV1 fm2_" + A * 4, A),
    "fly fo1": ("fo1_" + A * 2 + "abc", A),
    "render": ("rnd_" + A + A[:12], A),
    "cloudflare origin": ("v1.0-" + H + "01234567-" + H * 9, H),
    "cloudflare new": ("cfut_" + A * 2 + "abcdefgh", A),
    "digitalocean spaces": ("DO00" + "ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
    "tencent": ("AKID" + A + A[:12], A),
    "yandex": ("AQVN" + A + A[:15], A),
    "bitbucket": ("ATCTT3xFfGN0" + A * 8, A),
    "circleci": ("CCIPRJ_" + A + "_" + H * 2 + "01234567", H),
    "buildkite": ("bkua_" + H * 2 + "01234567", H),
    "jfrog": ("AKCp8" + A * 3 + "abc", A),
    "jfrog ref": ("cmVmdGtu" + A * 3, A),
    "nuget": ("oy2" + L + "0123456789abcdefg", L),
    "docker oat": ("dckr_oat_" + A * 2, A),
    "stripe org": ("sk_org_live_" + A * 3, A),
    "brevo smtp": ("xsmtpsib-" + H * 4 + "-" + A[:16], H),
    "resend": ("re_" + A[:8] + "_" + A + "abcd", A),
    "intercom": ("dG9rO" + A * 3, A),
    "notion": ("secret_" + A * 2 + "abc", A),
    "linear oauth": ("lin_oauth_" + H * 4, H),
    "contentful": ("CFPAT-" + A * 2 + "abc", A),
    "salesforce": ("00D5g000001abcd!AQ" + A * 4, A),
    "segment": ("sgp_" + A * 2, A),
    "posthog": ("phx_" + A * 2, A),
    "mapbox": ("sk.eyJ1Ijoi" + A + "." + A, A),
    "together": ("tgp_v1_" + A * 2, A),
    "elevenlabs": ("sk_" + H * 3, H),
    "wandb v1": ("wandb_v1_" + A * 3, A),
    "tavily": ("tvly-dev-" + A + "abcdefgh", A),
    "nvidia": ("nvapi-" + A * 3, A),
    "flask session": ("session=.eJw" + A * 3 + ".Zabcde." + A, A),
    "php session": ("PHPSESSID=" + A, A),
    "jsessionid": ("JSESSIONID=" + H * 2, H),
    "bcrypt": ("$2b$12$" + A * 2 + "abcdefghijklm", A),
    "shadow": ("root:$6$saltsalt$" + A * 4 + ":19000:0", A),
    "htpasswd": ("ann:$apr1$saltsalt$" + A + "ab", A),
    "argon2": ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$" + A * 2, A),
    "scram": ("SCRAM-SHA-256$4096:c2FsdHNhbHQ=$" + A * 2 + "=:" + A * 2 + "=", A),
    "mysql set": ("SET PASSWORD FOR u = PASSWORD('hunter2')", "hunter2"),
    "clickhouse ident": ("IDENTIFIED WITH sha256_password BY 'hunter2'", "hunter2"),
    "ansible": ("ansible_become_pass: hunter2", "hunter2"),
    "rclone": ("rclone --sftp-pass hunter2", "hunter2"),
    "keytool": ("keytool -storepass hunter2 -keypass hunter2", "hunter2"),
    "hive": ("beeline -u jdbc:hive2://h -n ann -p hunter2", "hunter2"),
    "bcp": ("bcp t out f -S h -U sa -P hunter2", "hunter2"),
    "sqlcmd": ("sqlcmd -S h -U sa -P hunter2", "hunter2"),
    "cqlsh": ("cqlsh -u cassandra -p hunter2", "hunter2"),
    "vsql": ("vsql -U dbadmin -w hunter2", "hunter2"),
    "rabbitmqctl": ("rabbitmqctl add_user ann hunter2", "hunter2"),
    "smbclient": ("smbclient //h/s -U ann%hunter2", "hunter2"),
    "aws configure": ("aws configure set aws_secret_access_key " + A * 2, A),
    "german": ("Passwort: hunter2", "hunter2"),
    "spanish": ("contraseña: hunter2", "hunter2"),
    "french2": ("motdepasse=hunter2", "hunter2"),
    "pw": ("pw=hunter2", "hunter2"),
    "db_pw": ("db_pw: hunter2", "hunter2"),
    "pass": ("pass=hunter2", "hunter2"),
    "login pass": ('{"user": "a", "pass": "hunter2"}', "hunter2"),
    "hmac": ("hmac_key=" + A, A),
    "winrm": ("New-Object PSCredential('a', (ConvertTo-SecureString 'hunter2' -AsPlainText -Force))", "hunter2"),
    "scala": ("Map(user -> a, password -> hunter2)", "hunter2"),
    "html input": ('<input type="password" name="pw" value="hunter2">', "hunter2"),
    "html input 2": ('<input name="password" type="text" value="hunter2">', "hunter2"),
    "presigned cf": ("https://d.cloudfront.net/x?Expires=1&Signature=" + A * 4 + "__&Key-Pair-Id=K", A),
    "presigned gcs v2": ("https://storage.googleapis.com/b/o?GoogleAccessId=x&Expires=1&Signature=" + A * 3 + "%3D", A),
    "presigned s3 v2": (
        "https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1&Signature=" + A + "%3D",
        A,
    ),
    "oss": ("?OSSAccessKeyId=LTAI5t&Expires=1&Signature=" + A + "%3D", A),
    "ipmi": ("ipmitool -U a -P hunter2", "hunter2"),
    "snmp": ("snmpwalk -v3 -A hunter2abc -X hunter2abc", "hunter2abc"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_of_this_form_is_masked(form):
    shown, secret = FORMS[form]
    assert secret not in text(f"before {shown}")
    assert not is_clean(to_json({"event": shown}))


SIBLINGS = (
    "osql -S h -U sa -Phunter2",
    '("X-Auth-Token", "hunter2")',
    "requests.put('x', headers=[('private-token', 'hunter2')])",
    "\\u003cpassword\\u003ehunter2\\u003c/password\\u003e",
    'variable "api_token" {\n  type = string\n  default = "hunter2"\n}',
    "&lt;ns:apiKey&gt;hunter2&lt;/ns:apiKey&gt;",
    "<apiKey><![CDATA[hunter2]]></apiKey>",
    "putenv('AWS_SECRET_ACCESS_KEY', 'hunter2')",
    "url%3Dx%26password%3Dhunter2%26y",
    "?u=https%3A%2F%2Fh%2F%3Fclient_secret%3Dhunter2",
    "mysql%3A%2F%2Froot%3Ahunter2%40db",
    '{"db":"amqp:\\/\\/g:hunter2@mq\\/v"}',
    "kennwort = hunter2",
    "DB_PW='hunter2'",
    "{'pw': 'hunter2'}",
    "lösenord=hunter2",
    "mot_de_passe: hunter2",
    "trino(password -> 'hunter2')",
    "ansible_sudo_pass=hunter2",
    "--ftp-pass hunter2",
    'keystorePass="hunter2"',
    "http --auth ann:hunter2 x",
    "subprocess ['curl', '-s', '-u', 'ann:hunter2']",
    "influx -u -p hunter2",
    'PASSWORD("hunter2")',
    "GITLAB_PAT: hunter2hunter2hunter2",
    "Authorization: Bot hunter2hunter2",
    "https://x.azurewebsites.net/api/a/b?x=1&code=hunter2hunter2hunter2",
    "<input value=\"a\"><input type='password' id='x' value='hunter2'>",
    "BROKER=redis%253A%252F%252F%253Ahunter2%2540h",
    "senha=hunter2",
    "wachtwoord: hunter2",
    "pgpass h:5437:*:u:hunter2",
    "app_key: hunter2",
    "hmac-key=hunter2",
    "rabbitmqctl change_password ann hunter2",
    "smbclient -U 'ann%hunter2' //h/s",
    "lftp -u ann,hunter2 h",
    "curl -kfsSu ann:hunter2 h",
    "curl --proxy-user a:hunter2 h",
    "User: ann, Passwort = hunter2",
    "snmpget -v3 -l authPriv -u a -A hunter2 -X other",
    "Scala Some(apiKey -> hunter2)",
)
"""Written after the rules; the secret is ``hunter2`` in each."""


@pytest.mark.parametrize("shown", SIBLINGS)
def test_a_form_that_nobody_named_when_the_rules_were_made_is_masked(shown):
    assert "hunter2" not in text(f"before {shown}")
    assert not is_clean(to_json({"event": shown}))


HARMLESS = r"""
token_count=128
prompt_tokens: 4096
completion_tokens=17
max_tokens: 8192
"usage": {"input_tokens": 12, "output_tokens": 3}
tokens per second: 45.2
cache_read_input_tokens=0
0198f0a4-7e5c-7d3a-9f2e-3f6a2b1c4d5e
request_id=api-0123abcd
commit 2df6b49c1e0f4d3a9b8c7d6e5f4a3b2c1d0e9f8a
sha1:2df6b49c1e0f4d3a9b8c7d6e5f4a3b2c1d0e9f8a
md5=d41d8cd98f00b204e9800998ecf8427e
etag: "d41d8cd98f00b204e9800998ecf8427e-12"
image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7
key_name: prod-key
kms_key_id=arn:aws:kms:eu-central-1:111122223333:key/0198f0a4-7e5c-7d3a-9f2e-3f6a2b1c4d5e
secret_arn: arn:aws:secretsmanager:eu-central-1:1:secret:x
primary_key: id
partition_key=2026-01-31
sort key: created_at
foreign_key_checks=0
routing_key=default
routing_key='celery'
routing_key: orders.created
cache key: dag_123
idempotency_key=load-2026-01-31
s3://bucket/key=value/part-0000.parquet
redirect: /login -> /home
dag_a -> dag_b
status_code=200
exit_code=1
error code=ORA-00942
?code=404
/oauth/callback?error=access_denied
3 passed, 2 failed
pass=12 fail=3
first pass: done
'pass': 3
"pass": true
{"pass": "yes"}
bypass=true
compass: north-west
password_reset_required: false
password changed for ann
Password policy updated
forgot password?
columns: ['id', 'password', 'created_at']
SELECT password, email FROM users
missing keys: {'token', 'secret'}
isin(["password", "email"])
token -
tokenize('hello world')
getpass()
pwd
cd /opt && pwd
PWD=/home/ann
UPW=3
upward=1
cpw: 3
spw file
http -> https
https://example.org/re_run
re_try_in_5_minutes_because_the_pool_is_full
ask_for_confirmation_of_the_user_before_the_run
risk_score: 0.7
task_id=sk_lake
re_indexing_of_the_warehouse_tables
store_sales_2026_01_31_partition_0001
cio said no
osquery -P x
nosql -P
mysql -P 3306
bcp is a tool
the connection to vsql failed
cqlsh -p
beeline -u jdbc:hive2://h:10000/default
influx database -p
snmp is off
http --auth-type=basic
curl -s https://x
curl --upload-file x:y
curl -sSfL https://get.example.org/install.sh
smbclient -L host
rabbitmqctl list_queues name messages
lftp -e "mirror; quit" sftp://host
identified by the DAG id
identified with a UUID
Identified as 'late'
password('
$1,000
$5 a month
$6.50
costs $1$ per run
regex ^a$b$1$
$2b is short
scrypt: not supported
pbkdf2 is used
SCRAM-SHA-256 is offered
argon2 is slow
%3A%2F%2Fexample.org%2Fpath
redirect_uri=https%3A%2F%2Fexample.org%2Fcb%3Fx%3D1
"url":"https:\/\/example.org\/a"
"mail":"mailto:\/\/ann@example.org"
<password></password>
<passwordRequired>true</passwordRequired>
&lt;name&gt;ann&lt;/name&gt;
<input type="text" name="user" value="ann">
<input type="checkbox" name="remember" value="yes">
('user', 'ann')
('dag_id', 'flights')
get('token_count', '3')
variable "region" { default = "eu-central-1" }
eyJ is how base64 of JSON begins
session=closed
session=ey
JSESSIONID
X-Honeycomb-Team: missing
AKCp is a prefix
v1.0-rc1
fm1_radio
oy2
t1.9
DO00
cflt
mfa.enabled=true
nvapi-driver
tvly-x
fc-list
rfc-2822
csk-x
disk-usage
api_org_id=12
vcp_port: 80
re_
hcaik_
dbtc_x
dbt run --select tag:daily
xoxd
sdk-version=1.2
aws-sdk-js
SWMTKN
lin_oauth_
Bot traffic: 3
Authorization: none
authorization: null
haslo
senha
PAT=3
path=/x
_pat=short
glob_pattern: *.csv
passenger_id=3
passport_no=x
passive=true
passage: 12
keypass
storepass
--pass-through-headers X
multi-pass=3
one-pass 3
app_key_count=3
hmac
map_key=region
heap key: 3
hotkey=3
monkey: 3
turkey=12
keyboard=de
secretary: Ann
undersecretary: x
0xdeadbeef
AA:BB:CC:DD:EE:FF
12:34:56:AAbb
10.0.0.1:8080
1234567890:AAshort
:5439/
postgres:5439: refused
12345:5432:abc
arn:aws:iam::123456789012:role/x
s3a://a@b/c
git@github.com:org/repo.git
ann@example.org:3
user:ann@example.org
mailto:ann@example.org?subject=x
https://h/@scope/pkg
https://h/a:b@c
npm ERR! 404 @scope/pkg
http://host:8080/path?email=a@b.c
postgresql://host/db?x=a:b@c
Signature=valid
signature=ok
?signature=missing
-hint:
gAAAAAB is Fernet
Basic Information about the run
digest: sha256:abc
nonce=abc
salt=10
pin=3
otp sent
access_level=3
access_log=/var/log/x
api_keys_rotated=3
license: MIT
licensekey
webhook failed with 404
webhook_url=None
connect host/port
connect to db/x failed
login ok
docker login -u ann
auth=basic
"auth": "oauth2"
"auth":"none"
"auth": "kerberos"
"auth": "scram-sha-256"
cookie policy
cookies=None
credential_type: role
credentials: null
creds=None
passphrase:
bearer of bad news
Bearer
token
next_page_token=abc
sync_token=12
page_token: CAE
continuation_token=x
copying build/lib.linux-x86_64-3.11/spwd.cpython-311-x86_64-linux-gnu.so -> /usr/lib/python3.11/lib-dynload
""".strip().splitlines()


@pytest.mark.parametrize("harmless", HARMLESS)
def test_a_line_that_only_looks_like_one_stays(harmless):
    assert text(harmless) == harmless


KNOWN = "Tr0ub4dor&3/Z\u00fc+x'y"
WRITTEN = {
    "JSON of PHP": json.dumps(KNOWN).replace("/", "\\/"),
    "JSON of Go": json.dumps(KNOWN, ensure_ascii=False).replace("&", "\\u0026"),
    "JSON of .NET": json.dumps(KNOWN).translate({ord(one): f"\\u{ord(one):04x}" for one in "&+'"}),
    "HTML of Jinja": escape(KNOWN).replace("&#x27;", "&#39;"),
    "base64 of JSON": b(json.dumps({"password": KNOWN})),
    "base64 of JSON in UTF-8": b(json.dumps({"x": KNOWN}, ensure_ascii=False)),
    "base64 of an address": b(f"postgresql://u:{quote(KNOWN, safe='')}@h"),
    "basic authentication": b(f"ann:{KNOWN}"),
    "base64 for addresses, without its end": base64.urlsafe_b64encode(f"a{KNOWN}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_known_secret_is_masked_as_programs_and_languages_write_it(form):
    add_secret(KNOWN)
    assert MASK in text(f"x {WRITTEN[form]} y")
    assert WRITTEN[form][8:-8] not in text(f"x {WRITTEN[form]} y")
    assert not is_clean(f"x {WRITTEN[form]} y".encode())


@pytest.mark.parametrize("form", [gzip.compress(KNOWN.encode(), mtime=0).hex(), KNOWN[::-1], " ".join(KNOWN)])
def test_a_known_secret_that_was_packed_turned_or_taken_apart_is_not_found_as_the_docs_say(form):
    add_secret(KNOWN)
    assert text(form) == form


def test_the_scan_of_each_line_knows_few_characters_and_so_stays_fast():
    hints = {byte for hint in (*NAME_FILTER, *RULE_FILTER) for byte in hint.encode()}
    between = sum(after - before > 1 for before, after in zip([-1, *sorted(hints)], [*sorted(hints), 256], strict=True))
    assert len(hints) + between <= 64
