#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the LDIF of a forest:

    people.py slapd FOREST INSTALLATION PASSWORD      with the account cn=hedgerow and its password
    people.py samba FOREST INSTALLATION

Sixty people: forty known under example.com, which the forests share, twenty under the forest's own
domain. The first twenty have an alias, one in thirty may not use messaging, and two of slapd's have no
chat: they are reached by mail.
"""
import sys

GIVEN = {
    "alpha": "Ada Carol Erik Grace Ivan Kate Mia Olaf Quinn Sara "
             "Uma Willem Yara Anton Cleo Edda Gijs Ines Kees Marit",
    "beta": "Bob Dave Fay Hugo Jane Liam Nina Paul Rita Tom "
            "Vera Xavier Zoe Bram Dora Floor Hans Joris Lotte Niels",
    "gamma": "Gus Lena Max Otto Pia Rosa Sven Tara Ursula Victor "
             "Wanda Yusuf Zara Alma Boris Celia Dario Elsa Felix Greta",
}
SURNAMES = {"alpha": ["Adams", "Clark", "Evans"], "beta": ["Baker", "Doyle", "Ford"],
            "gamma": ["Grant", "Hill", "Irwin"]}
MAIL_ONLY = {"marit", "niels"}
SHARED = 40  # the first so many are under example.com


def people(forest):
    """uid, given name, surname, mail, aliases, enabled"""
    given, surnames = GIVEN[forest].split(), SURNAMES[forest]
    for i in range(len(given) * len(surnames)):
        name, surname = given[i % len(given)], surnames[i // len(given)]
        first = i < len(given)
        uid = name.lower() if first else f"{name}.{surname}".lower()
        domain = "example.com" if i < SHARED else f"{forest}.example"
        aliases = [f"{name.lower()}@example.com"] if first else []
        yield uid, name, surname, f"{name}.{surname}@{domain}".lower(), aliases, i % 30 != 29


def slapd(forest, installation, password):
    base = f"dc={forest},dc=example"
    print(f"dn: {base}\nobjectClass: dcObject\nobjectClass: organization\ndc: {forest}\no: {forest}\n")
    for unit in ("People", "Services"):
        print(f"dn: ou={unit},{base}\nobjectClass: organizationalUnit\nou: {unit}\n")
    print(f"dn: cn=hedgerow,ou=Services,{base}\nobjectClass: organizationalRole\n"
          f"objectClass: simpleSecurityObject\ncn: hedgerow\nuserPassword: {password}\n")
    for uid, given, surname, mail, aliases, enabled in people(forest):
        print(f"dn: uid={uid},ou=People,{base}")
        print("objectClass: inetOrgPerson\nobjectClass: imPerson")
        print(f"uid: {uid}\ncn: {given} {surname}\ngivenName: {given}\nsn: {surname}")
        print(f"displayName: {given} {surname}\nmail: {mail}")
        for alias in aliases:
            print(f"imAlias: {alias}")
        print(f"imInstallation: {'none' if uid in MAIL_ONLY else installation}")
        print(f"imEnabled: {str(enabled).upper()}\n")


def samba(forest, installation):
    for uid, given, surname, mail, aliases, enabled in people(forest):
        print(f"dn: CN={given} {surname},OU=People,DC={forest},DC=example\nobjectClass: user")
        print(f"sAMAccountName: {uid}\nuserPrincipalName: {uid}@{forest}.example")
        print(f"givenName: {given}\nsn: {surname}\ndisplayName: {given} {surname}\nmail: {mail}")
        for proxy in [f"SMTP:{mail}"] + [f"smtp:{alias}" for alias in aliases]:
            print(f"proxyAddresses: {proxy}")
        print(f"msDS-cloudExtensionAttribute1: {installation}")
        print(f"userAccountControl: {544 if enabled else 546}\n")  # no password, they don't log in here


if __name__ == "__main__":
    {"slapd": slapd, "samba": samba}[sys.argv[1]](*sys.argv[2:])
