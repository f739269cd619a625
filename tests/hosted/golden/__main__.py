import json

from tests.hosted.golden import GOLDEN, HOSTED, requests_of

for entry in HOSTED:
    text = json.dumps(requests_of(entry), indent=2, ensure_ascii=False)
    (GOLDEN / f"{entry.name}.json").write_text(f"{text}\n", encoding="utf-8")
