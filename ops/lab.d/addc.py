#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Active Directory in a directory: the domain controller of a forest of one domain, made by Samba's
own provisioning and filled offline. Nothing outside the directory is read or written.

    addc.py address [N]              N loopback addresses whose LDAP and Kerberos ports are free
    addc.py make DIR REALM ADDRESS   makes the forest; its password files are written beside it
    addc.py load DIR FILE...         adds the entries of LDIF files, fast; the controller may run
    addc.py renew DIR                what a controller does that was restored from a backup: it goes
                                     on under a new invocationId; it must not run
    addc.py keytab DIR FILE NAME     the keys of an account, for a bind with Kerberos
    addc.py krb5 DIR...              a krb5.conf for the realms, on standard output

Started with: samba -F --no-process-group --debug-stdout -M single -s DIR/etc/smb.conf
The ports are AD's own (389, 636, 88), so that takes root, or CAP_NET_BIND_SERVICE. Clients find in DIR

    ca.pem             the CA of the controller's certificate, which names HOST, REALM and ADDRESS
    administrator      password of administrator@REALM
    svc-hedgerow       password of svc-hedgerow@REALM, who may use DirSync and see deleted objects
"""
import logging
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import uuid

import ldb
import samba.dckeytab  # noqa: F401  pylint: disable=unused-import  (teaches Net export_keytab)
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import misc, security
from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
from samba.ndr import ndr_pack, ndr_unpack
from samba.net import Net
from samba.param import LoadParm
from samba.provision import provision
from samba.samdb import SamDB

HOST = "dc1"
PORTS = (88, 389, 464, 636, 3268, 3269)  # of AD; Samba has no option for them
GET_CHANGES = "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2"  # the right that DirSync asks for
NEVER_EXPIRES = "66048"  # a kept image shall not die of the age of a password

# What Exchange and LCS add to a schema, of those attributes that Hedgerow asks for by name:
# attributeSyntax, oMSyntax, one value. The OIDs are examples.
TEXT, FLAG = ("2.5.5.12", "64"), ("2.5.5.8", "1")
ATTRIBUTES = {"msExchIMAddress": TEXT, "msExchHideFromAddressLists": FLAG, "mailNickname": TEXT,
              "targetAddress": TEXT, "msRTCSIP-PrimaryUserAddress": TEXT, "msRTCSIP-UserEnabled": FLAG}
OID = "1.3.6.1.4.1.32473.3"

SMB_CONF = """[global]
	workgroup = {netbios}
	realm = {realm}
	netbios name = {host}
	server role = active directory domain controller
	server services = ldap, kdc
	dcerpc endpoint servers = epmapper, lsarpc, netlogon, samr, drsuapi
	interfaces = {address}/8
	bind interfaces only = yes
	disable netbios = yes
	load printers = no
	private dir = {home}/private
	lock directory = {home}
	state directory = {home}/state
	cache directory = {home}/cache
	pid directory = {home}/run
	ncalrpc dir = {home}/run/ncalrpc
	winbindd socket directory = {home}/run/winbindd
	ntp signd socket directory = {home}/run/ntp_signd
	binddns dir = {home}/binddns
	log file = {home}/samba.log
	tls keyfile = {home}/private/tls/key.pem
	tls certfile = {home}/private/tls/cert.pem
	tls cafile = {home}/ca.pem
	ldap server require strong auth = allow_sasl_over_tls
	dsdb:schema update allowed = yes
	dns update command = /bin/true
	samba kcc command = /bin/true
	spn update command = /bin/true
	gpo update command = /bin/true
[sysvol]
	path = {home}/state/sysvol
[netlogon]
	path = {home}/state/sysvol/{domain}/scripts
"""


def free_address():
    """A loopback address of which no port of PORTS is taken."""
    while True:
        address = f"127.{random.randrange(16, 64)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        held = []
        try:
            for port in PORTS:
                held.append(socket.socket())
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held[-1].bind((address, port))
            return address
        except PermissionError:
            sys.exit("the ports of Active Directory are below 1024: be root, or first\n"
                     "  unshare --user --net --map-current-user --keep-caps sh -c 'ip link set lo up; exec bash'")
        except OSError:
            pass
        finally:
            for one in held:
                one.close()


class Forest:
    """The forest of a directory. Its entries are reached as the system itself, past all rights. Samba's
    library has one configuration for a process: of several forests only the last can be changed."""

    def __init__(self, home):
        self.home = os.path.abspath(home)
        self.conf = f"{self.home}/etc/smb.conf"
        self.lp = LoadParm()
        self.lp.load(self.conf)
        self.realm = self.lp.get("realm")
        self.address = self.lp.get("interfaces")[0].split("/")[0]
        self.base = "DC=" + self.realm.lower().replace(".", ",DC=")

    def database(self, **options):
        return SamDB(url=f"{self.home}/private/sam.ldb", session_info=system_session(), lp=self.lp, **options)

    def load(self, ldif):
        """Adds the entries of an LDIF text. The options are what makes it 600 a second, and constantly so."""
        database = self.database(options=["batch_mode:1", "transaction_index_cache_size:200000"])
        database.transaction_start()
        try:
            database.add_ldif(ldif)
            database.transaction_prepare_commit()
        except BaseException:
            database.transaction_cancel()
            raise
        database.transaction_commit()

    def account(self, name, may_sync=True):
        """A service account in OU=Services with a password of its own, in the file of its name."""
        database, dn = self.database(), f"CN={name},OU=Services,{self.base}"
        database.add({"dn": dn, "objectClass": "user", "sAMAccountName": name,
                      "userPrincipalName": f"{name}@{self.realm.lower()}", "userAccountControl": NEVER_EXPIRES,
                      "unicodePwd": f'"{self.password(name)}"'.encode("utf-16-le")})
        if may_sync:
            sid = ndr_unpack(security.dom_sid, database.search(dn, ldb.SCOPE_BASE, attrs=["objectSid"])[0]["objectSid"][0])
            allow(database, self.base, f"(OA;;CR;{GET_CHANGES};;{sid})")
            allow(database, f"CN=Deleted Objects,{self.base}", f"(A;CI;RPLC;;;{sid})")
        return dn

    def password(self, name):
        """The password of an account, made and kept in its file when there is none."""
        path = f"{self.home}/{name}"
        if not os.path.exists(path):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write("Aa1." + secrets.token_hex(12))
        with open(path, encoding="ascii") as file:
            return file.read()

    def teach(self):
        """The schema gets ATTRIBUTES, and people and contacts may have them."""
        schema = f"CN=Schema,CN=Configuration,{self.base}"
        database = self.database()
        for number, (name, (syntax, om)) in enumerate(ATTRIBUTES.items(), 1):
            database.add({"dn": f"CN={name},{schema}", "objectClass": "attributeSchema", "lDAPDisplayName": name,
                          "attributeID": f"{OID}.{number}", "attributeSyntax": syntax, "oMSyntax": om,
                          "isSingleValued": "TRUE"})
        database = self.database()  # which knows them
        for kind in ("User", "Contact"):
            database.modify_ldif(f"dn: CN={kind},{schema}\nchangetype: modify\nadd: mayContain\n" +
                                 "".join(f"mayContain: {name}\n" for name in ATTRIBUTES))

    def renew(self):
        """A new invocationId. What was done under the old one and is not in this copy is lost."""
        database = self.database()
        ntds = database.search(f"CN=Configuration,{self.base}", expression="(objectClass=nTDSDSA)", attrs=["dn"])[0].dn
        new = ldb.Message(ntds)
        new["invocationId"] = ldb.MessageElement(ndr_pack(misc.GUID(str(uuid.uuid4()))), ldb.FLAG_MOD_REPLACE,
                                                 "invocationId")
        database.modify(new, controls=["relax:0"])

    def keytab(self, path, name):
        Net(Credentials(), self.lp).export_keytab(keytab=path, principal=f"{name}@{self.realm}")


def allow(database, dn, ace):
    """Puts an entry of SDDL into the access list of an object."""
    domain = security.dom_sid(database.get_domain_sid())
    controls = ["sd_flags:1:4", "show_deleted:1"]
    found = database.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls)[0]
    descriptor = ndr_unpack(security.descriptor, found["nTSecurityDescriptor"][0])
    descriptor.dacl_add(security.descriptor.from_sddl(f"D:{ace}", domain).dacl.aces[0])
    change = ldb.Message(found.dn)
    change["d"] = ldb.MessageElement(ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
    database.modify(change, controls=controls)


def make_certificate(forest):
    """ca.pem, and a certificate for the names under which the controller is reached."""
    tls, domain = f"{forest.home}/private/tls", forest.realm.lower()
    os.makedirs(tls, exist_ok=True)
    common = ["openssl", "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
              "-days", "30"]
    run(common + ["-keyout", f"{tls}/ca.key", "-out", f"{forest.home}/ca.pem", "-subj", f"/CN=CA of {domain}",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
    run(common + ["-keyout", f"{tls}/key.pem", "-out", f"{tls}/cert.pem", "-subj", f"/CN={HOST}.{domain}",
                  "-CA", f"{forest.home}/ca.pem", "-CAkey", f"{tls}/ca.key",
                  "-addext", "basicConstraints=critical,CA:FALSE",
                  "-addext", f"subjectAltName=DNS:{HOST}.{domain},DNS:{domain},IP:{forest.address}"])
    os.chmod(f"{tls}/key.pem", 0o600)  # or Samba will not have it


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}")


def make(home, realm, address):
    home = os.path.abspath(home)
    for name in ("etc", "run", "cache", "state"):
        os.makedirs(f"{home}/{name}")
    conf = SMB_CONF.format(home=home, realm=realm.upper(), domain=realm.lower(), netbios=realm.split(".")[0].upper(),
                           host=HOST.upper(), address=address)
    with open(f"{home}/etc/smb.conf", "w", encoding="ascii") as file:
        file.write(conf)
    forest = Forest(home)
    log = logging.getLogger("provision")
    log.addHandler(logging.FileHandler(f"{home}/provision.log"))
    log.setLevel(logging.INFO)
    provision(log, system_session(), smbconf=forest.conf, lp=forest.lp, realm=realm.upper(),
              domain=realm.split(".")[0].upper(), hostname=HOST, hostip=address,
              adminpass=forest.password("administrator"), serverrole="active directory domain controller",
              dns_backend="NONE", dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2, backend_store="mdb",
              skip_sysvolacl=True)  # the access lists of files are what would take root
    with open(forest.conf, "w", encoding="ascii") as file:
        file.write(conf)  # it has been rewritten
    forest = Forest(home)
    make_certificate(forest)
    database = forest.database()
    # The names that Kerberos tickets are for; with the address no name needs to be resolved.
    names = "".join(f"servicePrincipalName: ldap/{name}\n" for name in (
        f"{HOST}.{realm.lower()}", f"{HOST}.{realm.lower()}/{realm.lower()}", HOST.upper(), address))
    database.modify_ldif(f"dn: CN={HOST.upper()},OU=Domain Controllers,{forest.base}\nchangetype: modify\n"
                         f"add: servicePrincipalName\n{names}")
    database.modify_ldif(f"dn: CN=Administrator,CN=Users,{forest.base}\nchangetype: modify\n"
                         f"replace: userAccountControl\nuserAccountControl: {NEVER_EXPIRES}\n")
    forest.teach()
    for unit in ("Services", "People", "Groups"):
        forest.database().add({"dn": f"OU={unit},{forest.base}", "objectClass": "organizationalUnit"})
    forest.account("svc-hedgerow")
    return forest


def krb5_conf(forests):
    realms = "".join(f"\t{one.realm} = {{\n\t\tkdc = {one.address}\n\t}}\n" for one in forests)
    domains = "".join(f"\t{one.address} = {one.realm}\n\t.{one.realm.lower()} = {one.realm}\n" for one in forests)
    return (f"[libdefaults]\n\tdefault_realm = {forests[0].realm}\n\tdns_lookup_realm = false\n"
            "\tdns_lookup_kdc = false\n\tdns_canonicalize_hostname = false\n\trdns = false\n"
            f"\tudp_preference_limit = 1\n[realms]\n{realms}[domain_realm]\n{domains}")


def main(verb, *words):
    if verb == "address":
        for _ in range(int(words[0]) if words else 1):
            print(free_address())
    elif verb == "make":
        make(*words)
    elif verb == "load":
        for path in words[1:]:
            with open(path, encoding="utf-8") as file:
                Forest(words[0]).load(file.read())
    elif verb == "renew":
        Forest(*words).renew()
    elif verb == "keytab":
        Forest(words[0]).keytab(*words[1:])
    elif verb == "krb5":
        print(krb5_conf([Forest(home) for home in words]), end="")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
