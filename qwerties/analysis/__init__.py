"""A store -> per-seed tables -> contrasts -> verdicts, and which contrasts need more seeds.

Public: `tables.read_seed_table`, `contrasts.load_results`, `verdicts.make_verdicts`, `topup.next_step`,
`searches.load_searches`. Nothing here trains, draws or writes to the store.
"""
