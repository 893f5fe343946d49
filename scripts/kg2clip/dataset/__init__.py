"""From kept pictures to shards with texts, and the papers that go with them."""
