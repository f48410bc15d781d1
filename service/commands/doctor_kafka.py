"""What `onefold doctor` says about Kafka."""

from collections.abc import Iterator
from typing import Final

from ingest.kafka.log import KafkaLog
from ingest.kafka.settings import KafkaSettings
from ingest.kafka.topics import differences, topics_of
from ingest.log import LogError
from service.findings import BAD, NOTE, OK, Finding

LAG_MAX: Final = 10_000
"""Messages of one stage that wait: some seconds of one worker's work."""
_READERS: Final = (
    ("record", "record", "events"), ("record", "backfill", "backfill"), ("fold", "fold", "activity"),
    ("identify", "identify", "links"), ("evaluate", "evaluate", "evaluate"),
)  # fmt: skip
"""(stage, group, topic) of all that is read."""


def kafka_findings(settings: KafkaSettings, generation: int = 1) -> Iterator[Finding]:
    """Whether brokers answer, topics are as they should be, and stages keep up.

    `generation` is that of the live derived tables: its own group folds into them.
    """
    log = KafkaLog(settings)
    try:
        log.check([])
        wrong = differences(settings)
    except LogError as error:
        yield Finding("Kafka", BAD, str(error), "start it, or mend the configuration")
        return
    finally:
        log.close()
    topics = [topic.name for topic in topics_of(settings)]
    named = f"{len(topics)} topics {settings.prefix}.…"
    yield Finding(
        "Kafka", OK, f"{settings.brokers} answers" + ("" if wrong else f"; {named} are right")
    )
    for each in wrong:
        found = each.what + (f" is {each.found}, not {each.wanted}" if each.wanted else "")
        advice = each.advice.replace("`onefold migrate`", "`onefold migrate --topics`")
        yield Finding(each.topic, BAD if each.serious else NOTE, found, advice)
    missing = {each.topic for each in wrong if each.what == "missing"}
    for stage, group, name in _READERS:
        read = [settings.topic(name), *(settings.inputs if group == "record" else ())]
        for topic in read:
            if topic not in missing:
                yield _lag(
                    log, settings.group(group, generation if group == "fold" else 1), stage, topic
                )


def _lag(log: KafkaLog, group: str, stage: str, topic: str) -> Finding:
    try:
        lag = log.lag(group, [topic])
    except LogError as error:
        return Finding(f"{stage} lag", NOTE, str(error), "grant Describe on its groups")
    late = lag > LAG_MAX
    return Finding(
        f"{stage} lag", NOTE if late else OK, f"{lag:,} messages of {topic}",
        f"start more of `onefold worker {stage}`" if late else "",
    )  # fmt: skip
