# SPDX-License-Identifier: Apache-2.0
"""The directory for people: users find colleagues of another forest by name and read their vCards,
out of the registry of their own site, within what rules allow."""
from xml.sax.saxutils import escape

import pytest

from labkit import unique, wait_until
from xmpp import CLIENT

ADA, BOB, CAROL = "ada.adams@example.com", "bob.baker@example.com", "carol.adams@example.com"
GRACE, JANE = "grace.adams@example.com", "jane.baker@example.com"
INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
SEARCH, FORM, CARD = "jabber:iq:search", "jabber:x:data", "vcard-temp"


@pytest.fixture(name="ada")
def fixture_ada(lab, login):
    lab.wait_link()
    return login("ada")


def answer(client, to, payload, kind="get"):
    return client.wait_id(client.query(to, payload, kind))


def ask(client, words, field="text", domain="example.com"):
    """Sends a search by form; returns its id."""
    return client.query(domain, f"<query xmlns='{SEARCH}'><x xmlns='{FORM}' type='submit'>"
                        f"<field var='FORM_TYPE'><value>{SEARCH}</value></field>"
                        f"<field var='{field}'><value>{escape(words)}</value></field></x></query>", "set")


def found(client, words, **options):
    """address -> what the result tells of that person"""
    result = client.wait_id(ask(client, words, **options))
    assert result.get("type") == "result", result.get("type")
    form = result.find(f"{{{SEARCH}}}query/{{{FORM}}}x")
    assert form.get("type") == "result"
    people = ({field.get("var"): field.findtext(f"{{{FORM}}}value") for field in item}
              for item in form.findall(f"{{{FORM}}}item"))
    return {person["jid"]: person for person in people}


def card(client, address):
    result = answer(client, address, f"<vCard xmlns='{CARD}'/>")
    assert (result.get("type"), result.get("from")) == ("result", address)
    return result.find(f"{{{CARD}}}vCard")


def test_the_domain_says_that_it_is_a_directory(ada):
    info = answer(ada, "example.com", f"<query xmlns='{INFO}'/>").find(f"{{{INFO}}}query")
    identities = {(one.get("category"), one.get("type")) for one in info.findall(f"{{{INFO}}}identity")}
    assert identities == {("gateway", "xmpp"), ("directory", "user")}
    assert {SEARCH, CARD} <= {one.get("var") for one in info.findall(f"{{{INFO}}}feature")}
    assert answer(ada, "example.com", f"<vCard xmlns='{CARD}'/>").findtext(f".//{{{CARD}}}FN") == "Hedgerow"


@pytest.mark.parametrize("who", ["ada", "bob"])
def test_the_server_lists_the_directory(login, who):
    client = login(who)
    items = answer(client, client.domain, f"<query xmlns='{ITEMS}'/>").findall(f"{{{ITEMS}}}query/{{{ITEMS}}}item")
    assert "example.com" in {item.get("jid") for item in items}


def test_the_form_says_what_may_be_filled_in(ada):
    query = answer(ada, "example.com", f"<query xmlns='{SEARCH}'/>").find(f"{{{SEARCH}}}query")
    assert all(query.find(f"{{{SEARCH}}}{name}") is not None for name in ("first", "last", "nick", "email"))
    fields = query.findall(f"{{{FORM}}}x/{{{FORM}}}field")
    assert {"text", "first", "last", "nick", "email"} <= {field.get("var") for field in fields}


def test_a_colleague_of_the_other_forest_is_found_by_family_name(ada):
    people = found(ada, "Baker", field="last")
    assert people[BOB]["nick"] == "Bob Baker"
    assert people[BOB]["email"] == BOB
    assert all("Baker" in person["nick"] for person in people.values())
    assert BOB in found(ada, "BÁK")
    assert list(found(ada, "bob bak")) == [BOB]
    assert list(found(ada, BOB, field="email")) == [BOB]
    assert found(ada, "nobody of this name") == {}


def test_and_by_a_client_that_knows_no_forms(ada):
    result = answer(ada, "example.com", f"<query xmlns='{SEARCH}'><first>bob</first><last>baker</last></query>", "set")
    item, = result.find(f"{{{SEARCH}}}query")
    assert item.get("jid") == BOB
    assert item.findtext(f"{{{SEARCH}}}nick") == "Bob Baker"
    assert item.findtext(f"{{{SEARCH}}}email") == BOB


def test_it_is_the_same_at_the_other_server(login):
    bob = login("bob")
    assert ADA in found(bob, "adams")
    assert card(bob, ADA).findtext(f"{{{CARD}}}FN") == "Ada Adams"


def test_the_vcard_tells_what_the_directory_knows(lab, ada):
    for attribute, value in (("o", "Beta & Sons"), ("ou", "Sales"), ("title", "Chief"),
                             ("telephoneNumber", "+31 20 1234567")):
        lab.set_entry("beta", "bob", attribute, value)
    lab.synced("boston", "beta")
    wait_until(lambda: lab.value("amsterdam", "SELECT details ->> 'telephone' FROM hedgerow.person WHERE address = %s",
                                 BOB), "replication of the details")
    mine = card(ada, BOB)
    texts = {element.tag.rpartition("}")[2]: element.text for element in mine.iter() if element.text}
    assert texts == {"FN": "Bob Baker", "FAMILY": "Baker", "GIVEN": "Bob", "USERID": BOB, "JABBERID": BOB,
                     "ORGNAME": "Beta & Sons", "ORGUNIT": "Sales", "TITLE": "Chief", "NUMBER": "+31 20 1234567"}
    assert found(ada, "bob baker")[BOB]["orgunit"] == "Sales"


def test_an_alias_has_the_vcard_of_its_person(ada):
    assert card(ada, "bob@example.com").findtext(f"{{{CARD}}}JABBERID") == BOB


def test_a_query_to_a_client_is_passed_on(ada, login):
    bob = login("bob")
    asked = ada.query(f"{BOB}/test", f"<vCard xmlns='{CARD}'/>")
    request = bob.wait_id(asked, "the query")
    bob.send(f"<iq type='result' id='{asked}' to='{request.get('from')}'><vCard xmlns='{CARD}'><FN>Me</FN></vCard></iq>")
    assert ada.wait_id(asked).findtext(f"{{{CARD}}}vCard/{{{CARD}}}FN") == "Me"


def test_whom_a_rule_forbids_is_not_found_and_has_no_vcard(lab, login):
    grace = login("grace")
    assert JANE in found(grace, "jane")
    reason = f"not before the merger {unique()}"
    lab.hedgerow("amsterdam", "rule", "add", "no-jane", "deny", "--priority", "1",
                 "--from", f"address:{GRACE}", "--to", f"address:{JANE}", "--reason", reason)
    try:
        wait_until(lambda: JANE not in found(grace, "jane"), "the rule")
        wait_until(lambda: grace.wait_id(grace.query(JANE, f"<vCard xmlns='{CARD}'/>")).get("type") == "error",
                   "the rule, in the gateway")
        refused = grace.wait_error(grace.query(JANE, f"<vCard xmlns='{CARD}'/>"))
        assert refused == ("not-allowed", reason, JANE)
        assert BOB in found(grace, "baker")
    finally:
        lab.hedgerow("amsterdam", "rule", "remove", "no-jane")
    wait_until(lambda: JANE in found(grace, "jane"), "the end of the rule")


def test_who_is_disabled_is_not_found(lab, ada):
    address, name = lab.sql("amsterdam", "SELECT address, name FROM hedgerow.person WHERE NOT enabled"
                                         " AND site = 'boston' ORDER BY address LIMIT 1")[0]
    assert address not in found(ada, name)
    assert ada.wait_error(ada.query(address, f"<vCard xmlns='{CARD}'/>"))[0] == "recipient-unavailable"


def test_an_unknown_person_has_no_vcard(ada):
    refused = ada.wait_error(ada.query("nobody@example.com", f"<vCard xmlns='{CARD}'/>"))
    assert refused == ("item-not-found", "nobody has this address", "nobody@example.com")


def test_what_the_directory_knows_is_not_changed_by_users(ada):
    for to in (BOB, ADA, "example.com"):
        condition, text, _ = ada.wait_error(ada.query(to, f"<vCard xmlns='{CARD}'><FN>Me</FN></vCard>", "set"))
        assert (condition, text) == ("not-allowed", "what is known of people comes from their directory")


@pytest.mark.parametrize("words", ["", "b", "* %", "@example.com", "a b c"])
def test_too_little_to_search_for_is_refused(ada, words):
    condition, text, sender = ada.wait_error(ask(ada, words))
    assert (condition, sender) == ("bad-request", "example.com")
    assert "two letters" in text


def test_too_much_to_search_for_is_refused(ada):
    condition, text, _ = ada.wait_error(ask(ada, "x" * 300))
    assert condition == "bad-request" and "too much" in text


def test_both_are_answered_while_the_link_is_down(lab, ada):
    lab.link("cut")
    try:
        wait_until(lambda: not lab.link_is_up(), "the loss of the link", 40)
        assert BOB in found(ada, "baker")
        assert card(ada, BOB).findtext(f"{{{CARD}}}FN") == "Bob Baker"
    finally:
        lab.link("flow")
    lab.wait_link()


def test_nobody_searches_without_end(lab, login):
    kate = login("kate")
    before = lab.metric("amsterdam", "desk_refused_ration_total")
    asked = [ask(kate, "baker") for _ in range(31)]
    answers = [kate.wait_id(one) for one in asked]
    assert [one.get("type") for one in answers] == ["result"] * 30 + ["error"]
    condition, text, _ = kate.wait_error(asked[-1])
    assert condition == "resource-constraint" and "too often" in text
    wait_until(lambda: lab.metric("amsterdam", "desk_refused_ration_total") == before + 1, "the metric")


def test_who_asks_and_goes_is_no_harm(lab, login, ada):
    quinn = login("quinn", presence=False)
    before = lab.metric("amsterdam", "desk_searches_total")
    for _ in range(10):
        ask(quinn, "baker")
    quinn.close()
    wait_until(lambda: lab.metric("amsterdam", "desk_searches_total") > before, "the searches")
    assert BOB in found(ada, "baker")


def test_a_message_is_not_held_up_by_searches(ada, login):
    bob, ivan = login("bob"), login("ivan")
    asked = [ask(ivan, "baker") for _ in range(30)]
    text = unique("beside")
    ada.message(BOB, text)
    bob.wait_body(text)
    for one in asked:
        ivan.wait_id(one)


def test_nothing_native_is_shown(ada):
    found(ada, "baker")
    card(ada, BOB)
    assert b"im.beta.example" not in ada.received()
    assert not [one for one in ada.all(lambda s: s.tag == CLIENT + "iq") if "@im.beta" in (one.get("from") or "")]
