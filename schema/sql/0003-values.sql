-- SPDX-License-Identifier: Apache-2.0
-- Values of directory entries: addresses folded, words understood.

SET LOCAL search_path = hedgerow, pg_catalog, pg_temp;

-- Case folding as stringprep's nodeprep (RFC 6122, appendix A) has it: lower(upper()) makes ss of a
-- sharp s, but dotless i must stay itself; the final sigma is folded, and table B.1 (soft hyphen,
-- joiners, variation selectors) left out. It differs from libidn only in scripts that had no case, or
-- were not there, in Unicode 3.2.
CREATE FUNCTION fold_text(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN normalize(translate(lower(
	CASE WHEN value LIKE U&'%\0131%' THEN normalize(value, NFKC) COLLATE "und-x-icu"
		ELSE upper(normalize(value, NFKC) COLLATE "und-x-icu") END) COLLATE "C",
	U&'\03C2\00AD\034F\1806\180B\180C\180D\200B\200C\200D\2060\FEFF\FE00\FE01\FE02\FE03\FE04\FE05\FE06\FE07\FE08\FE09\FE0A\FE0B\FE0C\FE0D\FE0E\FE0F',
	U&'\03C3'), NFKC);

CREATE FUNCTION escape_address(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN replace(replace(replace(value, '&', '\26'), '''', '\27'), '/', '\2f');

-- The form in which an address is stored and compared: folded, and what e-mail allows but XMPP forbids
-- escaped as XEP-0106 says. ASCII takes the short way.
CREATE FUNCTION fold_address(value text) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN octet_length(value) <> length(value) THEN escape_address(fold_text(value))
	WHEN value ~ '[&''/]' THEN escape_address(lower(value COLLATE "C"))
	ELSE lower(value COLLATE "C")
END COLLATE "C";

-- Whether a folded text is local@domain. Beyond ASCII, what nodeprep prohibits (RFC 3454, C.2 to C.8)
-- is none.
CREATE FUNCTION sync_is_address(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ '^[^@"&''/<>:[:space:][:cntrl:]]+@[^][@"&''/<>:,;()\\!#$%*+=?^_`{|}~[:space:][:cntrl:]]+$'
	AND octet_length(value) <= 320
	AND split_part(value, '@', 2) COLLATE "C" !~ '^[.-]|[.][.-]|-[.]|[.-]$'
	AND (octet_length(value) = length(value) OR value = lower(value) AND value COLLATE "und-x-icu" !~
		'[[:space:][:cntrl:]\u06dd\u070f\u180e\u200e\u200f\u2028-\u202e\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ue000-\uf8ff\ufdd0-\ufdef\ufff9-\uffff\U000e0001-\U0010ffff]');

-- Whether a lower-case text is an address that needs no folding: most are, and this is quick.
CREATE FUNCTION sync_is_plain(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ '^[a-z0-9.!#$%*+=?^_`{|}~\\-]+@[a-z0-9][a-z0-9.-]*[a-z0-9]$'
	AND strpos(value, '..') = 0 AND strpos(value, '.-') = 0 AND strpos(value, '-.') = 0 AND octet_length(value) <= 320;

COMMENT ON FUNCTION fold_address IS 'the stored form of a federation or native address';
COMMENT ON FUNCTION sync_is_address IS 'whether a folded text is local@domain';

-- `enabled` of a mapped value. userAccountControl counts by its bit ACCOUNTDISABLE; words by their
-- meaning; what means nothing is NULL, and the person is not enabled.
CREATE FUNCTION sync_enabled(value text) RETURNS boolean IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN value IS NULL THEN true
	WHEN lower(value) IN ('true', 'yes', 'on', '1', 'enabled', 'active') THEN true
	WHEN lower(value) IN ('false', 'no', 'off', '0', 'disabled', 'inactive') THEN false
	WHEN value ~ '^-?[0-9]{3,18}$' THEN value::bigint & 2 = 0
END;

-- LDAP's generalized time (RFC 4517, 3.3.13); NULL when it is none. Digits are taken for what they are, so
-- that no 30th of February is an error. Counts on TimeZone being UTC.
CREATE FUNCTION sync_time(value text) RETURNS timestamptz STABLE PARALLEL SAFE
RETURN CASE WHEN translate(value, '0123456789', '') IN ('Z', '.Z', ',Z') AND substr(value, 15, 1) IN ('Z', '.', ',') AND right(value, 1) = 'Z'
		OR value ~ '^[0-9]{14}([.,][0-9]+)?[+-]([01][0-9]|2[0-3])[0-5][0-9]$'
	THEN timestamptz '0001-01-01 00:00:00+00' + make_interval(years => substr(value, 1, 4)::int - 1,
			months => substr(value, 5, 2)::int - 1, days => substr(value, 7, 2)::int - 1,
			hours => substr(value, 9, 2)::int, mins => substr(value, 11, 2)::int, secs => substr(value, 13, 2)::int)
		- CASE WHEN right(value, 1) = 'Z' THEN interval '0'
			ELSE (left(right(value, 5), 3) || ':' || right(value, 2))::interval END
END;
