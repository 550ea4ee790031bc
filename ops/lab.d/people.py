#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the LDIF of a forest: people.py FOREST INSTALLATION PASSWORD-OF-THE-SERVICE-ACCOUNT

Sixty people: forty known under example.com, which the forests share, twenty under the forest's own
domain. The first twenty have an alias, one in thirty may not use messaging.
"""
import sys

GIVEN = {
    "alpha": "Ada Carol Erik Grace Ivan Kate Mia Olaf Quinn Sara "
             "Uma Willem Yara Anton Cleo Edda Gijs Ines Kees Marit",
    "beta": "Bob Dave Fay Hugo Jane Liam Nina Paul Rita Tom "
            "Vera Xavier Zoe Bram Dora Floor Hans Joris Lotte Niels",
}
SURNAMES = {"alpha": ["Adams", "Clark", "Evans"], "beta": ["Baker", "Doyle", "Ford"]}
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


def main(forest, installation, password):
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
        print(f"imInstallation: {installation}\nimEnabled: {str(enabled).upper()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
