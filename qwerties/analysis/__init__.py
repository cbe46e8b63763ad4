"""A store -> per-seed tables -> contrasts -> verdicts, and which contrasts need more seeds.

Public: `contrasts.load_results`, `verdicts.make_verdicts`, `topup.next_step`, `searches.read_studies`.
Nothing here trains, draws or writes to the store.
"""
