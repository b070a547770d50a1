"""LTI 1.3 and LTI Advantage: login, id_token, keys, tokens, grades, rosters, deep linking, registration."""
