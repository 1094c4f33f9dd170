"""Places of secrets in code, shells, tables, configurations and addresses, and what stands there harmlessly."""

from __future__ import annotations

import pytest

from observability.encode import to_json
from observability.redact import is_clean, text

PLACES = r"""
{"Name":"/prod/db/password","Type":"SecureString","Value":"hunter2","Version":3}
{"name": "API_TOKEN", "value": "hunter2"}
V1EnvVar(name='DB_PASSWORD', value='hunter2', value_from=None)
- {name: PGPASSWORD, secret: no, value: hunter2}
{"db_password": {"sensitive": true, "type": "string", "value": "hunter2"}}
{'password': ['hunter2']}
map[Authorization:[Bearer hunter2abc] Accept:[*/*]]
"x-api-key": ("hunter2",)
user%5Bpassword%5D=hunter2&x=1
user[password]=hunter2
setx DB_PASSWORD hunter2
set -gx DB_PASSWORD hunter2
set --export --global API_TOKEN 'hunter2'
setenv DB_PASSWORD hunter2
ENV DB_PASSWORD hunter2
airflow variables set db_password hunter2
airflow variables set "api_key" "hunter2"
airflow variables --set api_key hunter2
os.environ.update({'DB_PASSWORD': 'hunter2'})
conf.set("smtp", "smtp_password", "hunter2")
keyring.set_password('system', 'api_key', 'hunter2')
SECRET_ACCESS_KEY 'hunter2' ACCESS_KEY_ID 'x'
CREATE SECRET s (TYPE s3, KEY_ID 'x', SECRET 'hunter2')
CREATE LOGIN x WITH PASSWORD = N'hunter2', CHECK_POLICY=OFF
ALTER USER scott IDENTIFIED BY hunter2 ACCOUNT UNLOCK
create user ann identified by hunter2;
{password,"hunter2"}
{:user "a" :password "hunter2"}
{secret, <<"hunter2">>}
Config { password: Some(Secret("hunter2")), user: "a" }
api_token: Ok(Some(Token("hunter2")))
["password"]=> string(7) "hunter2"
["password"]=>\n  string(7) "hunter2"
<entry key="password">hunter2</entry>
<param name="password">hunter2</param>
<string name="api_key" translatable="false">hunter2</string>
<Data Name='Password'>hunter2</Data>
password == hunter2
| password | hunter2 |
│ api_token │ hunter2 │
password    hunter2
secret_key\thunter2
Key         Value\n---         -----\npassword    hunter2\nuser        ann
password | hunter2
Authorization: NTLM hunter2hunter2
Ocp-Apim-Subscription-Key: hunter2
x-functions-key: hunter2
DD-APPLICATION-KEY: hunter2
X-JFrog-Art-Api: hunter2hunter2
PresharedKey = hunter2
curl -b 'sid=hunter2' https://x
curl -s --cookie "a=b; sid=hunter2" https://x
zip -r -P hunter2 out.zip folder
unzip -o -P 'hunter2' in.zip
7z a -phunter2 a.7z folder
openssl enc -d -aes-256-cbc -k hunter2 -in x
htpasswd -b /etc/htpasswd ann hunter2
htpasswd -nbB ann hunter2
net use Z: \\h\s hunter2 /user:ann
echo 'ann:hunter2' | chpasswd
printf ann:hunter2 | sudo chpasswd -e
cx_Oracle.connect("scott/hunter2@//dbhost:1521/ORCL")
oracledb.connect(dsn='scott/hunter2@ORCL')
SET PASSWORD FOR 'x'@'%' = 'hunter2'
set password for ann = PASSWORD("hunter2")
cmdkey /add:h /user:ann /pass:hunter2
etcdctl --endpoints=h --user=root:hunter2 get x
ngrok config add-authtoken hunter2
vault login -method=token hunter2hunter2
db2 connect to d user ann using hunter2
.LOGON tdhost/ann,hunter2
mc alias set prod https://minio.example.org ann hunter2
requests.get(url, auth=('ann', 'hunter2'))
session.auth = HTTPBasicAuth("ann", "hunter2")
ftp.login('ann', 'hunter2')
ParseResult(scheme='postgresql', netloc='ann:hunter2@db:5432', path='/d')
https://mattermost.example.org/hooks/hunter2hunter2hunter2abcd
https://open.feishu.cn/open-apis/bot/v2/hook/hunter2abcd-4567-89ab-cdef
https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter2abcd-4567-89ab-cdef
https://maker.ifttt.com/trigger/x/with/key/hunter2hunter2hunter2
https://webexapis.com/v1/webhooks/incoming/hunter2hunter2hunter2
https://hook.eu1.make.com/hunter2hunter2hunter2abcdef
{"kty":"oct","k":"Ahunter2hunter2hunter2hunter2"}
{"crv": "P-256", "d": "Ahunter2hunter2hunter2hunter2", "kty": "EC"}
bindpw hunter2
The password is: hunter2
aes_key=hunter2abcdef
Cookie; sessionid=hunter2abcdef
connect.sid=s%3Ahunter2abcdef
""".strip().splitlines()
"""The secret is ``hunter2``, or has it in it."""

HARMLESS = r"""
Access denied for user 'ann'@'h' (using password: YES)
(using password: NO)
Unexpected token: "}"
Unexpected token '<' at position 0
reached token: eof
existingSecret: my-db
imagePullSecrets: [{name: regcred}]
imagePullSecrets:\n- name: regcred
secretKeyRef: {name: db, key: password}
password: ${DB_PASSWORD}
password: "{{ conn.pg.password }}"
WHERE password = %(password_1)s AND x = 1
token_ids=[101, 2023, 102]
token_ids: [101]
htpasswd: command not found
Authorization: required
{"name": "orders", "value": "12"}
{'Key': 'Environment', 'Value': 'prod'}
{"token_count": {"type": "number", "value": 12}}
- name: DB_HOST\n  value: postgres
ENV PATH /usr/bin
ENV TOKEN_FILE /run/x
setenv PATH /usr/bin
set -x
airflow variables set region eu-central-1
airflow variables get db_password
airflow variables delete api_token
token "foo" is unknown
the token 'foo' is unknown
Secret 'db-creds' not found
The key 'api_key' was not found
password\tvarchar(255)
password    text
| password | varchar |
id | password | created_at
| name | token | created |
a token  for the run
password changed
zip -r out.zip folder
unzip -o in.zip
zip(a, b)
7z x a.7z
openssl enc -aes-256-cbc -kfile x
htpasswd -c /etc/htpasswd ann
net use Z: \\h\s
echo ann:done | tee out.log
chpasswd is in /usr/sbin
"md5": "6b8e4b9d8ae6b0b3a4ae2c6a3b0a1b8c"
session.connect("host/path")
set password for ann
etcdctl --user root get x
ngrok started
vault login failed
vault login with OIDC
connect to d
user ann using the new pool
mc alias list
auth=('ann', None)
auth=(x, y)
.login(user, secret_of(user))
netloc='db.example.org:5432'
https://github.com/org/repo/hooks/pre-commit
/opt/airflow/hooks/20260131_load_of_the_orders.py
https://h/hooks/list
{"k": 10, "d": "2026-01-31"}
{"d": "orders", "k": "customers_of_the_warehouse"}
{"kty":"EC","crv":"P-256","x":"abcdefghijklmnopqrstuvwxyz0","y":"def"}
identified by the key orders_pk
response="ok"
<entry key="region">eu</entry>
<param name="token_count">3</param>
{region, "eu"}
application_name=contrail
subscription: orders
the token is missing
sessionid=12
aes is on
functions: 3
PublicKey = HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=
""".strip().splitlines()


def _written(line):
    return line.replace("\\n", "\n").replace("\\t", "\t")


@pytest.mark.parametrize("line", PLACES)
def test_a_secret_in_this_place_is_masked(line):
    shown = _written(line)
    assert "hunter2" not in text(shown)
    assert "hunter2" not in text(f"before:\n{shown}\nafter")
    assert not is_clean(to_json({"event": shown}))


@pytest.mark.parametrize("line", HARMLESS)
def test_what_stands_in_such_a_place_harmlessly_stays(line):
    assert text(_written(line)) == _written(line)


def test_a_hash_that_logs_in_as_well_as_the_password_does_is_masked():
    shown = '"ann" "md56b8e4b9d8ae6b0b3a4ae2c6a3b0a1b8c"'
    assert text(shown) == '"ann" "md5***"'
    assert not is_clean(to_json({"event": shown}))


def test_the_answer_to_a_digest_is_masked():
    answer = "6629fae49393a05397450978507c4ef1"
    header = f'Authorization: Digest username="ann", uri="/", response="{answer}", opaque="x"'
    assert answer not in text(header)
    assert not is_clean(to_json({"event": header}))
