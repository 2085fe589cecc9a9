"""What is a secret or a personal datum, and what only looks like one. None of the secrets ever opened anything."""

from proxy.redaction.category import Category

_R = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4eFg7hJk0mNp3QsT6uVw"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.s5cXTp0J-dqR_8w2mZ4Q"
PEM = (
    "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEpAIBAAKCAQEA1234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL\n"
    "c2hvcnQ=\n-----END RSA PRIVATE " + "KEY-----"
)

FOUND: list[tuple[Category, str, str]] = [
    # category, text, what is to go
    (Category.PRIVATE_KEY, f"my key:\n{PEM}\nthat was it", PEM),
    (Category.PRIVATE_KEY, PEM[:-30], PEM[:-30]),
    (Category.PRIVATE_KEY, PEM.replace("\n", "\\n"), PEM.replace("\n", "\\n")),
    (Category.OPENAI_KEY, f"use sk-proj-{_R}_x please", f"sk-proj-{_R}_x"),
    (Category.OPENAI_KEY, f"(sk-{_R[:48]})", f"sk-{_R[:48]}"),
    (Category.OPENAI_KEY, "sk-0123456789abcdef0123456789abcdef", "sk-0123456789abcdef0123456789abcdef"),
    (Category.ANTHROPIC_KEY, f"sk-ant-api03-{_R}-AA.", f"sk-ant-api03-{_R}-AA"),
    (Category.AWS_KEY, "id AKIA" + "IOSFODNN7EXAMPLE, ok", "AKIA" + "IOSFODNN7EXAMPLE"),
    (Category.GITHUB_TOKEN, f"gh{'p'}_{_R[:36]}", f"gh{'p'}_{_R[:36]}"),
    (Category.GITHUB_TOKEN, f"token github{'_pat_'}{_R[:30]}!", f"github{'_pat_'}{_R[:30]}"),
    (Category.GOOGLE_KEY, f"?key=AI{'za'}{_R[:35]}&v=1", f"AI{'za'}{_R[:35]}"),
    (Category.SLACK_TOKEN, f"xo{'xb'}-1234567890-{_R[:20]}", f"xo{'xb'}-1234567890-{_R[:20]}"),
    (
        Category.SLACK_TOKEN,
        f"https://hooks.{'slack'}.com/services/T00000000/B00000000/{_R[:24]}",
        f"hooks.{'slack'}.com/services/T00000000/B00000000/{_R[:24]}",
    ),
    (Category.STRIPE_KEY, f"sk{'_live_'}{_R[:24]}", f"sk{'_live_'}{_R[:24]}"),
    (Category.AZURE_KEY, f"AccountKey={(_R + _R)[:86]}==;End", f"{(_R + _R)[:86]}=="),
    (Category.AZURE_KEY, f"abc8Q~{_R[:34]}", f"abc8Q~{_R[:34]}"),
    (Category.HUGGINGFACE_TOKEN, f"h{'f_'}{_R[:34]}", f"h{'f_'}{_R[:34]}"),
    (Category.VENDOR_KEY, f"glp{'at-'}{_R[:20]}", f"glp{'at-'}{_R[:20]}"),
    (Category.VENDOR_KEY, f"tm-{_R[:43]}", f"tm-{_R[:43]}"),
    (Category.JWT, f"cookie={JWT};", JWT),
    (Category.BEARER_TOKEN, "Authorization: Bearer 1b2C3d4E5f6G7h8I9j0K", "1b2C3d4E5f6G7h8I9j0K"),
    (Category.BEARER_TOKEN, "authorization: basic Ym9iOmh1bnRlcjI=", "Ym9iOmh1bnRlcjI="),
    (Category.CREDENTIAL, "DB_PASSWORD=hunter2!x", "hunter2!x"),
    (Category.CREDENTIAL, 'password: "Tr0ub4dor&3"', "Tr0ub4dor&3"),
    (
        Category.CREDENTIAL,
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYz9",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYz9",
    ),
    (Category.CREDENTIAL, "postgres://bob:s3cret@db.example.com/x", "bob:s3cret"),
    (Category.CARD, "card 4111 1111 1111 1111, thanks", "4111 1111 1111 1111"),
    (Category.CARD, "4111-1111-1111-1111 12/27", "4111-1111-1111-1111"),
    (Category.CARD, "378282246310005", "378282246310005"),
    (Category.CARD, "3782 822463 10005", "3782 822463 10005"),
    (Category.CARD, "no. 5555555555554444.", "5555555555554444"),
    (Category.CARD, "ref 12 4111 1111 1111 1111", "4111 1111 1111 1111"),
    (Category.CARD, "4111 1111 1111 1111 123", "4111 1111 1111 1111"),
    (Category.IBAN, "IBAN DE89 3704 0044 0532 0130 00 BITTE", "DE89 3704 0044 0532 0130 00"),
    (Category.IBAN, "gb29nwbk60161331926819", "gb29nwbk60161331926819"),
    (Category.IBAN, "NO93 8601 1117 947", "NO93 8601 1117 947"),
    (Category.IBAN, "MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
    (Category.US_SSN, "SSN 123-45-6789.", "123-45-6789"),
    (Category.EMAIL, "mail <Jane.Doe+x@mail.example.co.uk>.", "Jane.Doe+x@mail.example.co.uk"),
    (Category.EMAIL, "jürgen@exämple.de", "jürgen@exämple.de"),
    (Category.EMAIL, "mailto:a@b.co?subject=x", "a@b.co"),
    (Category.PHONE, "ring +49 170 1234567 now", "+49 170 1234567"),
    (Category.PHONE, "+1 (415) 555-2671", "+1 (415) 555-2671"),
    (Category.PHONE, "(415) 555-2671", "(415) 555-2671"),
    (Category.PHONE, "415-555-2671", "415-555-2671"),
    (Category.PHONE, "1-415-555-2671", "1-415-555-2671"),
    (Category.IPV4, "from 203.0.113.9:443", "203.0.113.9"),
    (Category.IPV6, "[2001:db8::ff00:42:8329]:80", "2001:db8::ff00:42:8329"),
    (Category.IPV6, "::ffff:203.0.113.9", "::ffff:203.0.113.9"),
    (Category.IPV6, "2001:0db8:0000:0000:0000:ff00:0042:8329", "2001:0db8:0000:0000:0000:ff00:0042:8329"),
]

LEFT: list[str] = [
    # order numbers: 16 digits of an issuer's range without Luhn's digit, and with it in nobody's range
    "order 4111111111111112", "4111 1111 1111 1112", "order 1234567812345670", "9999999999999995",
    "1700000000000", "id 12345678901234567890123", "0.4111111111111111", "4111 11111111 1111",
    "DE89 3704 0044 0532 0130 01", "DE88 3704 0044 0532 0130 00", "XX89370400440532013000", "commit de89ab",
    "000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "2024-11-2019", "1123-45-6789",
    "a@b", "@decorator", "user@localhost", "icon@2x.png", "a @ b.co", "1@.de", "me@.example.com",
    "12+34567890", "+123", "x=+12345678", "911-555-1234", "415-911-1234", "415-055-1234", "1234567890", "555 1234",
    "+2024-11-20 10:00", "+0200", "2024-11-20", "ISBN 978-0-306-40615-7",
    "127.0.0.1", "0.0.0.0", "255.255.255.255", "v1.2.3.4", "1.2.3.4.5", "256.1.1.1", "1.2.3", "3.14.15",
    "std::vector", "12:30:45", "::", "::1", "00:1A:2B:3C:4D:5E", "x[3::2]", "a::b",
    "sk-loading-spinner-container-large", "sk-short1", "task-0123456789abcdef0123", "AKIAABC",
    "xAKIA" + "IOSFODNN7EXAMPLE",
    "hf_transfer", "eyJ.eyJ.x", "eyJhbGciOi.notjson.abc", "-----BEGIN PUBLIC KEY-----",
    "a PEM begins with -----BEGIN PRIVATE " + "KEY-----, then comes base64",
    "max_tokens: 4096", "password: required", "the password is: please", "password = get_password()", "token: string",
    "secret: a secret", "password: ********", "api_key=YOUR_API_KEY_GOES_HERE",
    "token = tokenizer_v2.encode_plus(text)",
    "key: value1234567890123456", "basic understanding", "Basic training12", "bearer of bad news", "https://example.com/a:b",
    "Bearer token-of-appreciation", "[EMAIL_0123abcd]", "",
]  # fmt: skip
