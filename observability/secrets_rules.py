"""Secrets known by how they look: tokens of services with a prefix of their own, and places that hold nothing else.

The prefixes, alphabets and lengths are facts from gitleaks' rules (https://github.com/gitleaks/gitleaks, v8, MIT
License, Copyright 2019 Zachary Rice), of which those are taken that begin with letters of their own and that a data
platform meets; a length here is about two thirds of theirs, so that a token that is cut is masked as well. The places
are ours.

A rule is tried only where one of its literals was found, and only from there on (``match``, never ``search``), and
every repetition is of one class: it ends, or takes what it has read with it. So the time grows as the text does.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from observability.secrets_names import NAME_FILTER

__all__ = ["RULES", "RULE_FILTER", "USERINFO", "Rule", "compiled"]


@cache
def compiled(pattern: bytes) -> re.Pattern[bytes]:
    """A rule's pattern, compiled when it is tried first: few ever are."""
    return re.compile(pattern)


class Rule(NamedTuple):
    """Literals (lower case) where the rule is tried, and what follows there; group 1 is the secret, or all of it.

    ``beside`` is a literal of ``NAME_FILTER`` that stands in whatever fits.
    """

    literals: tuple[str, ...]
    pattern: bytes
    beside: str = ""


_ALNUM = "A-Za-z0-9"
_WORD = r"\w-"
_HEX = "A-Fa-f0-9"
_BASE64 = "A-Za-z0-9+/="
_TOKENS = (
    ("AKIA", "A-Z2-7", 12), ("ASIA", "A-Z2-7", 12), ("ABIA", "A-Z2-7", 12), ("ACCA", "A-Z2-7", 12),
    ("A3T", "A-Z0-9", 13), ("EAAA", _WORD, 40), ("EAAC", _ALNUM, 60), ("EAAM", _ALNUM, 60),
    ("pul-", "a-f0-9", 30), ("nfp_", _ALNUM, 26), ("sbp_", "a-f0-9", 30), ("tfp_", rf".={_WORD}", 30),
    ("squ_", "a-f0-9", 30), ("sqp_", "a-f0-9", 30), ("sqa_", "a-f0-9", 30), ("tskey-", _WORD, 20),
    ("pnu_", _ALNUM, 26), ("aio_", _ALNUM, 20), ("shippo_live_", "a-f0-9", 26), ("duffel_live_", _WORD, 30),
    ("rdme_", "a-z0-9", 46), ("fio-u-", _WORD, 40), ("FLWSECK_", _WORD, 12), ("EZAK", _ALNUM, 40),
    ("bedrock-api-key-", _BASE64, 20), ("LTAI", _ALNUM, 16),
    ("ghp_", _ALNUM, 20), ("gho_", _ALNUM, 20), ("ghu_", _ALNUM, 20), ("ghs_", _ALNUM, 20), ("ghr_", _ALNUM, 20),
    ("github_pat_", r"\w", 40),
    ("glpat-", rf".{_WORD}", 16), ("glptt-", _HEX, 24), ("gldt-", _WORD, 16), ("glrt-", rf".{_WORD}", 16),
    ("glcbt-", _WORD, 16),
    ("_gitlab_session=", _ALNUM, 20),
    ("xoxa-", _WORD, 8), ("xoxb-", _WORD, 8), ("xoxe-", _WORD, 8), ("xoxe.", rf".{_WORD}", 8), ("xoxo-", _WORD, 8),
    ("xoxp-", _WORD, 8), ("xoxr-", _WORD, 8), ("xoxs-", _WORD, 8), ("xapp-", _WORD, 8),
    ("AIza", _WORD, 24), ("GOCSPX-", _WORD, 20), ("ya29.", _WORD, 20),
    ("sk_live_", _ALNUM, 10), ("sk_test_", _ALNUM, 10), ("sk_prod_", _ALNUM, 10),
    ("rk_live_", _ALNUM, 10), ("rk_test_", _ALNUM, 10), ("rk_prod_", _ALNUM, 10), ("whsec_", _BASE64, 16),
    ("sk-ant-", _WORD, 20), ("sk-proj-", _WORD, 20), ("sk-svcacct-", _WORD, 20), ("sk-admin-", _WORD, 20),
    ("pplx-", _ALNUM, 24), ("hf_", "A-Za-z", 24),
    ("AGE-SECRET-KEY-1", "A-Z0-9", 30),
    ("dapi", "a-f0-9-", 24), ("doo_v1_", _HEX, 40), ("dop_v1_", _HEX, 40), ("dor_v1_", _HEX, 40),
    ("dp.pt.", _ALNUM, 28), ("dp.ct.", _ALNUM, 28), ("dp.sa.", _ALNUM, 28), ("dp.st.", rf".{_WORD}", 28),
    ("dp.scim.", _ALNUM, 28), ("dp.audit.", _ALNUM, 28), ("dt0c01.", rf"{_ALNUM}.", 40),
    ("glft-", _WORD, 16), ("glagent-", _WORD, 32), ("gloas-", _WORD, 40), ("glsoat-", _WORD, 16),
    ("HRKU-", _WORD, 40), ("lin_api_", _ALNUM, 26), ("figd_", _WORD, 26),
    ("glc_", _BASE64, 32), ("glsa_", r"\w", 24),
    ("ntn_", _ALNUM, 30), ("npm_", _ALNUM, 24),
    ("sha256~", _WORD, 28), ("pscale_tkn_", rf"=.{_WORD}", 24), ("pscale_oauth_", rf"=.{_WORD}", 24),
    ("pscale_pw_", rf"=.{_WORD}", 24), ("PMAK-", _WORD, 30),
    ("pypi-AgE", _WORD, 30), ("rubygems_", _HEX, 30),
    ("SG.", rf".={_WORD}", 40), ("xkeysib-", _WORD, 40), ("sntrys_", rf"_{_BASE64}", 30),
    ("sntryu_", _HEX, 40),
    ("shpat_", _HEX, 20), ("shpca_", _HEX, 20),
    ("shppa_", _HEX, 20), ("shpss_", _HEX, 20), ("sgp_", r"\w", 26), ("sq0atp-", _WORD, 16),
    ("sq0csp-", _WORD, 24),
    ("hvs.", _WORD, 20), ("hvb.", _WORD, 40), ("dckr_pat_", _WORD, 16), ("PRIVATE-TOKEN:", rf". {_WORD}", 12),
    ("NRAK-", "A-Z0-9", 18),
    ("ATATT3", rf"={_WORD}", 40), ("ATBB", _ALNUM, 24),
    ("ops_eyJ", _BASE64, 60),
    ("dose", _HEX, 24), ("sk-", _WORD, 32), ("gsk_", _ALNUM, 34), ("xai-", _WORD, 50), ("r8_", _ALNUM, 26),
    ("lsv2_pt_", rf"{_HEX}_", 28), ("lsv2_sk_", rf"{_HEX}_", 28), ("pcsk_", r"\w", 40), ("CCIPAT_", r"\w", 40),
    ("CLOJARS_", _HEX, 40), ("SK", _HEX, 32), ("key-", _HEX, 32), ("pubkey-", _HEX, 32), ("1//0", _WORD, 30),
    ("IQoJb3JpZ2luX2Vj", _BASE64, 20), ("FwoGZXIvYXdz", _BASE64, 20),
    ("xoxc-", _WORD, 8), ("xoxd-", rf"+/=%{_WORD}", 12), ("xwfp-", _WORD, 8), ("mfa.", _WORD, 60),
    ("ABSKQmVkcm9ja0FQSUtleS", _BASE64, 20), ("AKID", _ALNUM, 30), ("AQVN", _WORD, 34), ("t1.9", rf"=.{_WORD}", 60),
    ("DO00", "A-Z0-9", 16), ("cflt", rf"{_BASE64}", 50), ("dbtc_", _WORD, 26), ("dbtu_", _WORD, 26),
    ("dbts_", _WORD, 26), ("napi_", _ALNUM, 40), ("sb_secret_", _WORD, 22), ("vercel_blob_rw_", r"\w", 30),
    ("vcp_", _ALNUM, 24), ("vck_", _ALNUM, 24), ("rnd_", _ALNUM, 28), ("cfut_", _ALNUM, 36), ("cfat_", _ALNUM, 36),
    ("v1.0-", "a-f0-9-", 120), ("fm1_", _BASE64, 60), ("fm2_", _BASE64, 60), ("fo1_", _WORD, 40),
    ("ATCTT3xFf", rf"={_WORD}", 60), ("CCIPRJ_", r"\w", 40), ("bkua_", _HEX, 30), ("AKCp", _ALNUM, 60),
    ("cmVmdGtuO", _ALNUM, 50), ("cmVmdGtua", _ALNUM, 50), ("oy2", "a-z0-9", 40),
    ("dckr_oat_", _WORD, 16), ("sk_org_", r"\w", 24), ("xsmtpsib-", _WORD, 40),
    ("dG9rO", _BASE64, 50), ("secret_", _ALNUM, 40), ("lin_oauth_", _HEX, 40),
    ("CFPAT-", _WORD, 30), ("phx_", _WORD, 34), ("tgp_v1_", _WORD, 30), ("tvly-", _WORD, 24),
    ("nvapi-", _WORD, 40), ("wandb_v1_", r"\w", 40), ("hcaik_", "a-z0-9", 40), ("hcbik_", "a-z0-9", 40),
    ("api_org_", "A-Za-z", 24), ("sk_", _HEX, 40), ("e2b_", _HEX, 30), ("fc-", _HEX, 32), ("csk-", "a-z0-9", 40),
    ("polar_oat_", _ALNUM, 30), ("polar_pat_", _ALNUM, 30), ("SWMTKN-1-", "a-z0-9-", 50), ("hvr.", _WORD, 24),
    ("glffct-", _WORD, 16), ("glimt-", _WORD, 20), ("glwt-", _WORD, 16), ("dt0s01.", rf"{_ALNUM}.", 40),
    ("amzn1.oa2-cs.v1.", _HEX, 40), ("jina_", r"\w", 40), ("sk.eyJ", rf".{_WORD}", 24),
)  # fmt: skip
_ASCII64 = rb"[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][\w+/]"
"""Four digits of base64 of plain ASCII: words of a language are not made of them."""
_WRAPPED = rb"[A-Za-z0-9+/=\\\r\n]"
"""Base64 with line breaks, real ones or such as JSON spells."""
_BODY = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
"""No letter stands before a token, unless it is that of a line break in JSON."""


def _token(prefix: str, alphabet: str, least: int) -> Rule:
    return Rule((prefix.lower(),), _BODY + f"{re.escape(prefix)}[{alphabet}]{{{least},}}".encode())


RULES: tuple[Rule, ...] = (
    *(_token(*one) for one in _TOKENS),
    Rule(("re_",), _BODY + rb"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}"),
    Rule(("pat",), _BODY + rb"pat[A-Za-z0-9]{14,18}\.[a-f0-9]{40,}"),  # Airtable's: the dot tells it from a path
    # places
    Rule(("eyj",), rb"(?:(?<![\w-])|(?<=\\[nrt]))eyJ[\w-]+\.eyJ[\w-]+(?:\.[\w-]*){1,3}"),
    Rule(("eyj",), rb"(?:(?<![\w-])|(?<=\\[nrt]))eyJ[\w-]{10,}(?:\.[\w-]{8,}){4}"),  # an encrypted one
    Rule(("eyj",), rb"(?:(?<![\w-])|(?<=\\[nrt]))eyJhdXRocyI6[A-Za-z0-9+/=]{12,}"),  # Docker's logins
    Rule(("bearer",), rb"(?i)bearer\s{1,8}([\w.~+/=-]{6,})"),
    Rule(("sig=",), rb"(?i)(?<=[?&;])sig=([\w%+/=-]{8,})"),
    Rule(("x-amz-signature", "x-goog-signature"), rb"(?i)x-(?:amz|goog)-signature(?:=|%3d)([\w%+/=-]{8,})"),
    Rule(("signature=",), rb"(?i)signature=([a-f0-9]{32,})"),
    Rule(("signature=",), rb"(?i)(?<=[?&])signature=([\w%+/=~-]{12,})"),
    Rule(
        ("azurewebsites.net/", "oauth"),
        rb"(?i)[\w.]{5,18}[\w./-]{0,96}\?(?:[^\s\"'<>]{0,256}?&)?code=([\w%+/=.~-]{20,})",
    ),
    Rule(
        ("routing_key", "integration_key"),
        rb"\w{7,11}_key\\{0,4}[\"']?[ \t]{0,4}[=:][ \t]{0,4}\\{0,4}[\"']?([a-f0-9]{32})\b",
    ),
    Rule(("sessionid=", "phpsessid=", "connect.sid="), rb"(?i:sessionid|phpsessid|connect\.sid)=([\w.,!%-]{8,})"),
    Rule(("session=.ej", "session=ey"), rb"(?i:session)=(\.?eJ[\w-]+\.[\w-]{4,}\.[\w-]{8,})"),
    Rule(
        ("_pat=", "_pat:", "_pat'", '_pat"', "_pat\\"),
        rb"(?i)_pat\\{0,4}[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\{0,4}[\"']?([\w+/=.-]{16,})",
    ),
    Rule(
        ('"pass"', "'pass'", 'pass\\"'),
        rb"(?:(?<=[\"'])|(?<!\w))\\{0,4}[\"']?pass\\{0,4}[\"'][ \t]{0,4}:[ \t]{0,4}"
        rb"\\{0,4}[\"']([^\s\"'\\]{6,256})(?=\\{0,4}[\"'])",
    ),
    Rule(("pass=",), rb"(?<![\w-])pass=(?!\d+\b)([^\s\"'&,;)}\]\\]{6,})"),
    Rule(("honeycomb-team",), rb"(?i)honeycomb-team\\{0,4}[\"']?: ?\\{0,4}[\"']?(\w{20,})"),
    Rule(("geniekey ",), rb"(?i:geniekey) ([a-f0-9-]{16,})"),
    Rule(("access_token$",), rb"access_token\$\w{6,10}\$\w{8,24}\$([a-f0-9]{32})"),
    Rule(("!aq",), rb"(?<=(?<![A-Za-z0-9])00D[A-Za-z0-9]{12})!(AQ[\w.]{40,})"),
    Rule((":aa",), rb"(?:(?<=(?<!\d)\d{9})|(?<=(?<!\d)\d{10})):(AA[\w-]{33})(?![\w-])"),
    # those that say near their end who made them
    Rule(("jqqj99",), rb"(?<=([A-Za-z0-9]{52}))JQQJ99"),
    Rule(("ffffnral",), rb"(?<=([a-f0-9]{32}))FFFFNRAL"),
    Rule(("ffffnral",), rb"(?<=([a-f0-9]{28}))FFFFNRAL"),
    # what a password was hashed to
    Rule(("$2a$", "$2b$", "$2y$"), rb"\$2[aby]\$\d\d\$([./A-Za-z0-9]{40,})"),
    Rule(
        ("$1$", "$5$", "$6$", "$y$", "$apr1$"),
        rb"\$(?:[156y]|apr1)\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,32}\$([./A-Za-z0-9$]{20,})",
    ),
    Rule(("$argon2",), rb"\$argon2\w{1,2}\$v=\d{1,3}\$[\w=,]{1,48}\$([A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,})"),
    Rule(("scram-sha-",), rb"SCRAM-SHA-\d{1,3}\$\d{1,8}:([A-Za-z0-9+/=]{4,}\$[A-Za-z0-9+/=:]{24,})"),
    Rule(
        ("pbkdf2", "scrypt:"),
        rb"(?:pbkdf2[:_]sha\d{1,3}|scrypt)[:$][\d:]{1,24}\$([A-Za-z0-9+/]{6,}\$[A-Za-z0-9+/=]{24,})",
    ),
    # an address within another, or in JSON of those that quote the slash
    Rule(
        ("%3a%2f%2f", "%253a%252f%252f"),
        rb"(?i)%(?:25)?3a%(?:25)?2f%(?:25)?2f[\w.%+-]{0,128}?%(?:25)?3a((?:(?!%(?:25)?(?:2f|40))[\w.%+~!*-]){1,256})(?=%(?:25)?40)",
    ),
    Rule((":\\/\\/", ":\\\\/\\\\/"), rb":\\{1,4}/\\{1,4}/[^\s/:@\"'<>\\]{0,128}:([^\s/\"'<>\\]{1,256})(?=@)"),
    Rule(("hooks.slack.com/",), rb"(?i)hooks\.slack\.com/(?:services|workflows|triggers)/([\w+/=-]{8,})"),
    Rule(("/api/webhooks/",), rb"(?i)/api/(?:v\d{1,2}/)?webhooks/\d{1,24}/([\w-]{8,})"),
    Rule(("webhook.office.com/",), rb"(?i)webhook\.office\.com/([\w@/-]{8,})"),
    Rule(("api.telegram.org/bot",), rb"(?i)api\.telegram\.org/bot(\d{1,20}:[\w-]{8,})"),
    Rule(("hooks.zapier.com/",), rb"(?i)hooks\.zapier\.com/hooks/catch/([\w/-]{8,})"),
    Rule((".atlasv1.",), rb"\.atlasv1\.[\w=-]{40,}"),
    Rule(("pat-na", "pat-eu"), _BODY + rb"pat-(?:na|eu)\d-[a-f0-9-]{24,}"),
    Rule(("sshpass ",), rb"sshpass\s{1,8}-p\s{0,8}(\S+)"),
    Rule(("redis-cli ",), rb"redis-cli [^\r\n]{0,96}?(?<=\s)(?:-a|--pass)[= ]{1,3}(\S+)"),
    Rule(("sqlplus ",), rb"sqlplus [^\r\n]{0,64}?[\w$]{1,64}/([^\s@\"'/]{1,128})@"),
    Rule(("mysql",), rb"mysql(?:dump|admin|import|sh)?(?:\.exe)? [^\r\n]{0,96}?(?<=\s)-p([^\s\"']+)"),
    Rule(
        ('"auth"', '"auth\\'),
        rb"\"auth\\{0,8}\"\s{0,4}:\s{0,4}\\{0,8}\"((?:" + _ASCII64 + rb"){1,64}(?:[\w+/]{2}==|[\w+/]{3}=)?)\\{0,8}\"",
    ),
    Rule(('"auth',), rb"\"auth\\{0,8}\"\s{0,4}:\s{0,4}\\{0,8}\"([A-Za-z0-9+/]{16,}={0,2})"),
    Rule(("login ",), rb"login\s{1,8}\S{1,256}\s{1,8}(?:account\s{1,8}\S{1,256}\s{1,8})?password\s{1,8}(\S+)", "passw"),
    Rule(
        (
            "docker login",
            "podman login",
            "buildah login",
            "skopeo login",
            "nerdctl login",
            "registry login",
            "az login",
            "oras login",
            "oc login",
            "cf login",
        ),
        rb"\w{2,8} login [^\r\n]{0,96}?(?<=\s)-p[ =]{1,2}[\"']?(?!-)([^\s\"']+)",
    ),
    Rule(
        ("curl ",),
        rb"(?i)curl [^\r\n]{0,96}?(?<=\s)(?:-[a-z]{0,8}u[= ]{0,3}|--(?:proxy-)?user[= ]{1,3})"
        rb"[\"']?[^\s\"':]+:([^\s\"']+)",
    ),
    Rule(
        ("-u'", '-u"', "-u\\"),
        rb"-u\\{0,4}[\"'], ?\\{0,4}[\"'][^\s\"':,\\]{1,128}:([^\s\"'\\]{1,256})(?=\\{0,4}[\"'])",
    ),
    Rule(
        ("http -a ", "https -a ", "http --auth", "https --auth"),
        rb"https? (?:-a|--auth)[ =][\"']?[^\s\"':]+:([^\s\"']+)",
    ),
    Rule(("lftp ",), rb"lftp [^\r\n]{0,96}?(?<=\s)-u ?[\"']?[^\s\"',]+,([^\s\"']+)"),
    Rule(("smbclient ",), rb"smbclient [^\r\n]{0,96}?(?<=\s)-U ?[\"']?[^\s\"'%]+%([^\s\"']+)"),
    Rule(
        ("sqlcmd ", "bcp ", "ipmitool ", "osql "),
        rb"\w{3,8} [^\r\n]{0,96}?(?<=\s)-P ?[\"']?(?!-)([^\s\"']+)",
    ),
    Rule(
        ("cqlsh ", "beeline ", "vsql ", "cbq ", "influx "),
        rb"\w{3,8} [^\r\n]{0,128}?(?<=\s)-[pw] [\"']?(?!-)([^\s\"']+)",
    ),
    Rule(("curl ",), rb"(?i)curl [^\r\n]{0,96}?(?<=\s)(?:-b|--cookie)[= ]{1,3}[\"']?([^\s\"'=]+=[^\"'\r\n]+)"),
    Rule(("zip ",), rb"zip [^\r\n]{0,96}?(?<=\s)-P ?[\"']?(?!-)([^\s\"']+)"),
    Rule(("7z ", "7za ", "7zr "), rb"7z[ar]? [^\r\n]{0,96}?(?<=\s)-p([^\s\"']+)"),
    Rule(("openssl enc ",), rb"openssl enc [^\r\n]{0,96}?(?<=\s)-k [\"']?([^\s\"']+)"),
    Rule(("htpasswd -",), rb"htpasswd -\w{0,4}b\w{0,4} (?:\S{1,128} )?\S{1,128} ([^\s\"']+)(?![^\s\"'])(?! \S)"),
    Rule(("net use ",), rb"(?i:net use) [^\r\n]{0,96}?(?<=\s)(?![/\\])(\S{1,128})(?= [^\r\n]{0,8}/user:)"),
    Rule(("echo ", "printf "), rb"\w{4,6} [\"']?[\w.$-]{1,64}:([^\s\"'|]{1,128})[\"']? ?\|[^\r\n|]{0,32}chpasswd"),
    Rule(('"md5', "'md5"), rb"[\"']md5([a-f0-9]{32})[\"']"),  # PostgreSQL's and PgBouncer's: as good as the password
    Rule(
        ("connect(", "create_engine(", "makedsn("),
        rb"\w{7,13}\([\w=]{0,8}[ubr]?\\{0,4}[\"'][\w$#]{1,30}/([^\s\"'@/\\]{1,128})(?=@)",
    ),
    Rule(
        ("set password for ",),
        rb"(?i)set password for [^\s=]{1,128} {0,4}= {0,4}(?:password\( ?)?\\{0,4}[\"']([^\"'\\]{1,256})",
    ),
    Rule(("/pass:",), rb"(?i:/pass:)[\"']?([^\s\"']+)"),
    Rule(("etcdctl ",), rb"etcdctl [^\r\n]{0,96}?--user[= ][^\s:\"']{1,64}:([^\s\"']+)"),
    Rule(("ngrok ",), rb"ngrok (?:config )?(?:add-)?authtoken (\S+)"),
    Rule(
        ("vault login ",), rb"vault login (?:-\S{1,64} ){0,4}(?![-\w]{0,32}[=:]|with\b|to\b|as\b|failed\b)([\w.-]{8,})"
    ),
    Rule(
        ("connect to ",),
        rb"(?i)connect to \S{1,64} user \S{1,64} using [\"']?([^\s\"']+)[\"']?(?=\s{0,4}(?:\Z|[\"';\r\n\\]))",
    ),
    Rule((".logon ",), rb"(?i)\.logon [\w./:-]{0,128}/?[\w.-]{1,64},([^\s\"';]+)"),
    Rule(
        ("mc alias set ", "mc config host add "),
        rb"mc (?:alias set|config host add) \S{1,64} \S{1,256} \S{1,128} ([^\s\"']+)",
    ),
    Rule(
        ("basicauth(", "auth=(", ".login("),
        rb"[\w.]{4,9}=?\([ubr]?\\{0,4}[\"'][^\"'\\]{1,128}\\{0,4}[\"'], ?[ubr]?\\{0,4}[\"']([^\"'\\]{1,256})",
    ),
    Rule(("netloc='", 'netloc="', 'netloc\\"'), rb"netloc=\\{0,4}[\"'][^\s:\"'@\\]{0,128}:([^\s\"']{1,256})(?=@)"),
    Rule(
        ("/hooks/", "/hook/", "/webhooks/incoming/", "/with/key/", "/webhook/send?key="),
        rb"/(?:hooks?/|webhooks/incoming/|with/key/|webhook/send\?key=)((?=[\w-]{0,64}\d)[\w-]{20,})(?![\w./-])",
    ),
    Rule((".make.com/",), rb"\.make\.com/([a-z0-9]{24,})"),
    Rule(("response=",), rb"response=\\{0,4}\"([a-f0-9]{32,64})\\{0,4}\""),
    Rule(("x-jfrog-art-api",), rb"(?i)x-jfrog-art-api\\{0,4}[\"']?[:,] ?\\{0,4}[\"']?([\w.=-]{12,})"),
    Rule(
        ("identified by ",),
        rb"(?i)identified by ([^\s\"';\\]+)(?=\s{0,4}(?:;|account|default|temporary|profile|quota|replace|container))",
    ),
    Rule(("bindpw ",), rb"bindpw\s{1,8}([^\s\"']+)"),
    Rule(
        ('"d":', '"k":', '"d\\', '"k\\'),
        rb"\"[dk]\\{0,4}\": ?\\{0,4}\"((?=[\w-]{0,64}[A-Z])(?=[\w-]{0,64}\d)[\w-]{22,})\\{0,4}\"",  # a JWK
    ),
    Rule(
        ("rabbitmqctl ",),
        rb"rabbitmqctl [^\r\n]{0,64}?(?:add_user|change_password|authenticate_user) \S{1,128} ([^\s\"']+)",
    ),
    Rule(("snmp",), rb"snmp\w{1,8} [^\r\n]{0,96}?(?<=\s)-[AX] ?([^\s\"']+(?:[^\r\n]{0,96}?\s-[AX] ?[^\s\"']+)?)"),
    Rule(("convertto-securestring ",), rb"(?i:convertto-securestring) (?:-string )?[\"']([^\"']{1,256})"),
    Rule(("configure set aws_secret",), rb"configure set aws_secret_access_key (\S+)"),
    Rule(
        ("basic",),
        rb"(?i:basic)\s{1,4}(?=[A-Za-z+/]{0,64}(?:[0-9=]|[a-z][A-Z]))((?:" + _ASCII64 + rb"){2,}[A-Za-z0-9+/=]{0,3})",
    ),
    Rule(
        ('"encoded"', '"encoded\\'),
        rb"\"encoded\\{0,8}\"\s{0,4}:\s{0,4}\\{0,8}\"((?:" + _ASCII64 + rb"){6,}[A-Za-z0-9+/=]{0,3})",
    ),
    Rule(
        ("-us1", "-us2", "-us3", "-us4", "-us5", "-us6", "-us7", "-us8", "-us9"),
        rb"(?<=(?<![\w-])([a-f0-9]{32}))-us\d{1,2}(?![\w-])",
    ),
    Rule(("mailgun",), rb"mailgun[^\r\n]{0,128}?(?<![a-f0-9-])([a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8})(?![a-f0-9-])"),
    Rule(
        (*(f":543{digit}:" for digit in "23456789"), ":6432:", ":6543:"),
        rb":\d{4}:[^\s:\"']{1,64}:[^\s:\"']{1,64}:((?:\\[:\\]|[^\s:\\\"']){1,256})",
    ),
    Rule(("*:*:",), rb"(?<![\w:*])\*:\*:[^\s:\"']{1,64}:[^\s:\"']{1,64}:((?:\\[:\\]|[^\s:\\\"']){1,256})"),
    Rule(("connect ",), rb"(?i:connect) [\w$]{1,64}/([^\s@\"'/]{1,128})@"),
    Rule(("jdbc:oracle:",), rb"jdbc:oracle:\w{1,8}:[\w$]{1,64}/([^\s@\"'/]{1,128})@"),
    Rule(("_auth=", "_auth ="), rb"(?<![A-Za-z0-9])_auth ?= ?\\{0,4}[\"']?([A-Za-z0-9+/=]{8,})"),
    Rule(("redis_auth",), rb"(?i)redis_auth\\{0,4}[\"']?[ \t]{0,4}[=:][ \t]{0,4}\\{0,4}[\"']?([^\s\"'\\]+)"),
    Rule(("-hint:",), rb"-hint:\d{1,20}-([A-Za-z0-9+/=]{20,})"),
    Rule(("q~",), rb"(?<=[\w~.-]\d)Q~[\w~.-]{24,}"),
    Rule(("ls0tls1crudjti",), rb"LS0tLS1CRUdJTi(?!BDRVJU|BQVUJM)" + _WRAPPED + rb"{20,}"),
    Rule(("b3blbnnzac1rzxkt",), rb"b3BlbnNzaC1rZXkt" + _WRAPPED + rb"{20,}"),
    Rule(("ibaakc", "ibadanbgkqhkig9w0baqefaasc"), rb"IBA(?:AKC|DANBgkqhkiG9w0BAQEFAASC)" + _WRAPPED + rb"{20,}"),
    Rule(("---- begin ssh2",), rb"(?s)---- BEGIN SSH2 [A-Z ]{0,32}PRIVATE KEY ----(.*?)(?:---- END|\Z)"),
    Rule(("private-lines:",), rb"(?is)private-lines:\s{0,4}\d{1,4}(.*?)(?:private-mac|\Z)"),
    Rule(("requirepass ",), rb"requirepass\s{1,8}(?!(?:is|option|directive|and|or)\b)[\"']?([^\s\"']+)"),
    Rule(("mongo",), rb"mongo(?:sh|dump|restore|export|import)?(?:\.exe)? [^\r\n]{0,96}?(?<=\s)-p[ =]{1,2}([^\s\"']+)"),
    Rule(("ldap",), rb"ldap(?:search|modify|add|whoami|passwd|delete) [^\r\n]{0,128}?(?<=\s)-w ?([^\s\"']+)"),
    Rule(("-pass pass:", "-passin pass:", "-passout pass:"), rb"-pass(?:in|out)? pass:([^\s\"']+)"),
    Rule((":apa91b",), rb":APA91b[\w-]{40,}"),
    Rule(("samlresponse=", "samlrequest="), rb"(?i)saml(?:response|request)=([\w%+/=-]{8,})"),
    Rule(
        ("code_verifier", "client_assertion="),
        rb"(?:code_verifier|client_assertion)\\{0,4}[\"']?[=:] ?\\{0,4}[\"']?([\w.~-]{8,})",
    ),
    Rule(
        ("form-data; name=",),
        rb"(?i)form-data; name=\\{0,4}\"[^\"\\]{0,32}(?:passw|secret|token|pwd)[^\"\\]{0,32}\\{0,4}\""
        rb"(?:\\[rn]|\s){2,8}([^\s\\]+)",
    ),
    Rule(
        ("identified by", "identified with"),
        rb"(?i)identified (?:with\s{1,8}[\w'\"]{1,64}\s{1,8})?(?:by|as)\s{1,8}"
        rb"(?:password\s{1,8})?\\{0,4}[\"']([^\"'\\]{1,256})",
    ),
    Rule(("password('", 'password("'), rb"(?i)(?<![\w.])password\([\"']([^\"'\\]{1,256})(?=[\"']\))"),
    Rule(("mhccaqee",), rb"MHcCAQEE" + _WRAPPED + rb"{20,}"),
    Rule(
        ("mc4caqawbqydk2vwbciei", "migagqamb", "mighageamb"),
        rb"(?:MC4CAQAwBQYDK2VwBCIEI|MIGHAgEAMB)" + _WRAPPED + rb"{20,}",
    ),
)
"""Every rule; those of one literal are tried in this order."""

_BEFORE = " \"'=:/(;n"
_SPELLED = {
    **{short: tuple(f"{before}{short}" for before in _BEFORE) for short in ("sk-", "sk_", "re_", "pass=")},
    "sk": tuple(f"sk{digit}" for digit in "0123456789abcdef"),
    "pat": ("airtable", *(f"pat{letter}" for letter in "0123456789abdefgjklmnopqsuvwxyz")),
    "mongo": ("mongo ", "mongosh ", "mongodump ", "mongorestore ", "mongoexport ", "mongoimport ", "mongo.exe"),
    "ldap": ("ldapsearch ", "ldapmodify ", "ldapadd ", "ldapwhoami ", "ldappasswd ", "ldapdelete "),
    "basic": tuple(f"basic {letter}" for letter in "ijklmnopqrstuvwxyzabcdef"),
}
"""Literals that are in every other line, and what of them is rare: without what words go on with, such as in ``path``.
A token that goes on so is found where another hint stands beside it."""
_SHORT = (
    *("xox", "_v1_", "k_live_", "k_test_", "k_prod_", "pscale_", "shp", "sq0", "signature", "webhook", "eyj", "sntry"),
    *("hvs.", "hvb.", "glp"),
)
RULE_FILTER: tuple[str, ...] = tuple(
    dict.fromkeys(
        next((short for short in _SHORT if short in hint), hint)
        for rule in RULES
        for literal in rule.literals
        for hint in _SPELLED.get(literal, (literal,))
        if not rule.beside and not any(word in hint for word in NAME_FILTER)
    )
)
"""Hints of which, or of NAME_FILTER, each line has one that a rule can fit."""

USERINFO: tuple[bytes, ...] = (
    rb"://[^\s/:\"'<>]*:([^\s/\"'<>]+)(?=@)",
    rb"://[^\s/:@\"'<>]{1,256}:(?!\d{1,5}[/?#])([^\s\"'<>]{1,256})(?=@)",
    rb"://([^\s/:@\"'<>]{16,})(?=@)",
)
"""The password in an address, one with a slash in it, and a long name alone, as in Sentry's; the first that fits."""
