"""Every setting of the platform, in one place.

A value comes from the environment (`BIDWRIGHT_<NAME>`), else from `bidwright.toml` in the working
folder, else from its default here. Constructing `Settings` reads; it creates nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_serializer, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ml.core.alerting import Address, Route, WebhookUrl, parse_hours
from ml.core.errors import UsageError
from ml.core.hidden import hidden
from ml.core.upkeep_settings import UpkeepSettings

SETTINGS_FILE = "bidwright.toml"

SECRETS_OF_THE_ENVIRONMENT = frozenset({"webhooks"})
"""Settings that a file may not hold."""

ADDRESSES = ("database_url", "lake_url", "blobs_url", "s3_endpoint", "mlflow_url", "redis", "data", "spark_options")
"""Settings that may carry a password among other things."""

CurrencyPair = Annotated[str, Field(pattern="^[A-Z]{3}/[A-Z]{3}$")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_home() -> Path:
    """The working folder: `BIDWRIGHT_HOME`, or `.bidwright` below the present folder."""
    return Path(os.environ.get("BIDWRIGHT_HOME", ".bidwright")).absolute()


class Settings(UpkeepSettings):
    """Where things live and how the platform behaves; frozen once read."""

    model_config = SettingsConfigDict(env_prefix="BIDWRIGHT_", frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = Field(default_factory=default_home, description="working folder for everything the platform writes")
    source: str = Field("simulator", description="market source, a key of ml.market.SOURCES")
    market: str = Field("", description="name of this market in keys and paths; empty means the source's name")
    data: str = Field("", description="folder (or s3://bucket/prefix) that the source reads, where it reads one")
    seed: int = Field(7, ge=0, description="seed of everything random")

    database_url: str = Field("", description="platform database; empty means SQLite in the working folder")
    lake_url: str = Field(
        "", description="lake: a folder or s3://bucket/prefix; empty means a folder in the working folder"
    )
    blobs_url: str = Field("", description="blob store for bundles and reports: a folder or s3://bucket/prefix")
    s3_endpoint: str = Field("", description="endpoint of an S3 server other than AWS")
    mlflow_url: str = Field("", description="MLflow tracking store; empty means SQLite in the working folder")

    production: bool = Field(
        False,
        description="bundles signed by a development key are refused; on by rule with PostgreSQL, S3 or keys of your own",
    )
    trusted_keys: tuple[str, ...] = Field(
        (), description="public keys whose signatures of bundles count; bidwright keys new makes a pair"
    )
    signing_key: SecretStr = Field(
        SecretStr(""),
        description="secret key that signs bundles; set it in the environment, and only where models are trained",
    )
    code_version: str = Field(
        "",
        pattern=r"^([0-9a-f]{40}\+?)?$",
        description="commit of the code that runs, where git cannot be asked, as in an image; + at its end: and changes besides",
    )
    feature_engine: Literal["duckdb", "spark"] = Field(
        "duckdb", description="what computes features and training sets: duckdb, or spark (needs Java 17 or newer)"
    )
    engine_memory: str = Field(
        "2GB",
        pattern=r"^[1-9][0-9]*(MB|GB)$",
        description="memory that DuckDB takes at most, in MB or GB, before it spills to disk",
    )
    delivery_gb: int = Field(8, ge=1, description="memory that a Parquet file of a delivery may take when read, in GB")
    spark_master: str = Field(
        "local[2]", description="where Spark runs: local[N] for N threads of this machine, or the URL of a cluster"
    )
    spark_options: dict[str, str] = Field(
        default_factory=dict, description="further Spark properties by name, such as spark.driver.memory"
    )

    smtp_host: str = Field("127.0.0.1", description="SMTP server for mail")
    smtp_port: int = Field(1025, ge=1, le=65535, description="its port")
    smtp_user: str = Field("", description="user name, where the SMTP server wants one")
    smtp_password: SecretStr = Field(
        SecretStr(""), description="password; read from the environment, never from a file we write"
    )
    smtp_starttls: bool = Field(False, description="use STARTTLS; on by rule when a user name is given")
    mail_from: str = Field("bidwright@localhost", description="sender of every mail")
    mail_to: str = Field(
        "bid-team@localhost", description="who gets drift alerts; several addresses separated by commas"
    )
    airflow_url: str = Field("http://127.0.0.1:8080", description="base of links into the Airflow web UI")
    runbooks: str = Field(
        "",
        description="address below which docs/runbooks can be read, such as that of a code host; empty: our own pages",
    )
    routes: tuple[Route, ...] = Field(
        (), description="who hears of which incident: the first that fits counts, else mail_to and every webhook"
    )
    webhooks: dict[str, WebhookUrl] = Field(
        default_factory=dict, description="Slack-compatible webhooks: address by name, https; only from the environment"
    )
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, le=120, allow_inf_nan=False, description="a webhook must have answered after so long"
    )
    time_zone: str = Field(
        "UTC", description="IANA name of the zone in which quiet hours and the digest's hour are meant"
    )
    quiet_hours: str = Field(
        "", description="when only critical incidents are told and all else waits, such as 22:00-07:00; empty: never"
    )
    escalate_after_minutes: int = Field(
        30, ge=0, le=10_080, description="a critical incident that nobody took for so long is escalated; 0: never"
    )
    escalate_to: tuple[Address, ...] = Field(
        (), description="who hears of what was escalated; empty: again those who heard of it before"
    )
    digest_at: str = Field(
        "07:00", pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$", description="hour of the daily digest; empty: none"
    )
    deadline_hours: float = Field(
        6.0, ge=0, le=168, description="a DAG run that takes longer than this opens an incident; 0: none does"
    )
    tend_schedule: str = Field(
        "*/5 * * * *",
        description="cron (UTC) at which incidents are tended and waiting messages tried; none: only by hand",
    )

    retrain_every_days: int = Field(7, ge=1, description="age of the champion at which a retrain is due")
    approval: Literal["never", "first", "always"] = Field("never", description="when a person must approve a promotion")
    rollout: Literal["off", "canary"] = Field(
        "off", description="off: a promotion moves the champion at once; canary: shadow, canary and ramp come first"
    )
    rollout_slow_hours: int = Field(
        0, ge=0, description="hours that a canary gets for outcomes (calibration, profit) to mature; 0: fast gates only"
    )
    serve_home: str = Field(
        "",
        description="folder in which a bid service counts and keeps its bundles; empty: serving, in the working folder",
    )
    serve_memory: str = Field(
        "",
        description="folder in memory for what a bid service counts; empty: one of its own in /dev/shm; off: serve_home",
    )
    holdout_days: int = Field(14, ge=1, description="outcomes that became certain in these last days judge a candidate")
    schedule: str = Field(
        "30 1 * * *", description="cron (UTC) at which the day before is ingested; none: only by hand"
    )
    target_cost_share: float = Field(
        0.06,
        gt=0,
        le=1,
        description="cost of sale aimed at, ad cost / net booking value, until the market's response to bids is known",
    )
    take_share: float = Field(
        0.12,
        gt=0,
        le=1,
        description="what a booking earns, as a share of its net value; no bid exceeds a click's earnings",
    )
    bid_strategy: Literal["portfolio", "each_cell", "share_of_worth"] = Field(
        "portfolio",
        description="how bids are chosen: portfolio (budget and floor kept over all partners), each_cell (its own best, "
        "without limits), share_of_worth (target_cost_share of every click's worth)",
    )
    payment_models: dict[str, str] = Field(
        default_factory=dict,
        description="payment model by partner, where the account has another than the partner's usual one",
    )
    currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="currency of every amount (ISO 4217)")
    account_currency: str = Field(
        "",
        pattern="^([A-Z]{3})?$",
        description="currency that the partners' accounts bid in; empty: that of the market",
    )
    fx_rates: dict[CurrencyPair, Rate] = Field(
        default_factory=dict, description="units of the second currency for one of the first, by pair, such as EUR/USD"
    )
    daily_budget_micros: int | None = Field(
        None, gt=0, description="what all bids of a day may be expected to cost; empty: no budget"
    )
    poas_floor: float | None = Field(
        None, gt=0, description="what a day's bids must be expected to earn per cost; empty: no floor"
    )
    explored_share: float = Field(
        0.02, ge=0, le=0.03, description="spend moved at most to learn how the market answers; 0: nothing is tried"
    )
    redis: str = Field(
        "",
        description="Redis that serves the online features: host:port,db=0,password=...,ssl=true; empty: the embedded store",
    )
    lateness_days: int = Field(
        3, ge=0, le=60, description="days before its own that a materialisation reads again, for rows that came late"
    )
    materialize_tasks: int = Field(
        1, ge=1, le=16, description="Airflow tasks that the feature views of a day are spread over"
    )
    spend_cap: float = Field(
        1.2, ge=1, description="spend of a day at most, of all partners, over what the bids are expected to cost"
    )
    max_bid_micros: int = Field(5_000_000, gt=0, description="cap of any bid per click, in micros")
    max_bid_change: float = Field(
        0.3, gt=0, le=1, description="largest change of a bid from one day to the next, as a share"
    )
    events_keep_days: int = Field(
        14, ge=0, description="days that segments of the bid service's event log are kept after the lake has them"
    )
    serve_host: str = Field("127.0.0.1", description="address that the bid service listens on")
    serve_port: int = Field(8090, ge=0, le=65535, description="its port")
    serve_workers: int = Field(1, ge=1, le=64, description="its processes")
    serve_token: SecretStr = Field(
        SecretStr(""), description="bearer token of its callers, 16 characters or more; set it in the environment"
    )
    serve_tls_cert: str = Field("", description="its certificate with chain, a file in PEM form; empty: no TLS")
    serve_tls_key: str = Field("", description="key of that certificate, a file in PEM form")
    serve_client_ca: str = Field(
        "", description="authority of its callers' certificates, a file in PEM form; empty: none are asked for"
    )
    serve_deadline_ms: float = Field(
        25.0, gt=0, le=60_000, description="after so long an answer is an explicit no-bid, in milliseconds"
    )
    serve_poll_seconds: float = Field(
        0.5, gt=0, le=3600, description="pause between two looks at the ledger for what is to be served"
    )
    serve_pacing: bool = Field(
        True, description="keep each partner's day to its budget, where the plan has one; off: every multiplier is 1"
    )
    serve_budget_share: float = Field(
        1.0, gt=0, le=1, description="share of each day's budget for this service, where another one counts elsewhere"
    )
    simulator_opportunities_per_day: int = Field(
        20_000, ge=100, description="size of the simulated market, in mid-year"
    )
    simulator_hotels: int = Field(240, ge=20, le=20_000, description="hotels of the simulated market")
    simulator_shock_day: str = Field(
        "", description="market day from which the simulator's rivals start a price war; empty: never"
    )
    simulator_scenarios: tuple[str, ...] = Field(
        (), description="what happens to the simulated market, such as site_bug@2026-03-04; see docs/simulator.md"
    )

    @field_validator("s3_endpoint")
    @classmethod
    def _nobody_in_the_endpoint(cls, endpoint: str) -> str:
        # boto3 writes it into every error.
        if "@" in endpoint:
            raise ValueError(
                "an endpoint holds no user and no password; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return endpoint

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """For logs and tracebacks: addresses without their passwords, and no keys, among which somebody may have put a secret one."""
        for name, value in super().__repr_args__():
            yield name, f"{len(value)} keys" if name == "trusted_keys" else hidden(value)

    @field_serializer("trusted_keys", when_used="json")
    def _counted(self, keys: tuple[str, ...]) -> str:
        return f"{len(keys)} keys"

    @field_serializer(*ADDRESSES, when_used="json")
    def _without_passwords(self, value: Any) -> Any:
        return hidden(value)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("there is no such time zone; write a name such as Europe/Berlin") from error
        return zone

    @field_validator("quiet_hours")
    @classmethod
    def _hours(cls, hours: str) -> str:
        if hours:
            try:
                parse_hours(hours)
            except ValueError as error:
                raise ValueError("write when they begin and end, such as 22:00-07:00") from error
        return hours

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file."""
        given = getattr(init_settings, "init_kwargs", {}).get("home")
        file = Path(given or default_home()) / SETTINGS_FILE
        return init_settings, env_settings, _File(settings_cls, toml_file=file)

    @property
    def market_name(self) -> str:
        """The market's name in keys and paths."""
        return self.market or self.source

    @property
    def bids_in(self) -> str:
        """The currency that partners' accounts bid in."""
        return self.account_currency or self.currency

    @property
    def rates(self) -> dict[tuple[str, str], float]:
        """`fx_rates` by pair of codes, as `ml.bidding.language.convert` reads them."""
        return {(pair[:3], pair[4:]): rate for pair, rate in self.fx_rates.items()}

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the platform database."""
        return self.database_url or f"sqlite:///{self.home / 'bidwright.db'}"

    @property
    def refuses_development_keys(self) -> str:
        """Why signatures by a development key do not count here, as the end of a sentence; empty where they may."""
        reasons = {
            "the setting production is on": self.production,
            "trusted_keys is set": bool(self.trusted_keys),
            "signing_key is set": bool(self.signing_key.get_secret_value()),
            "the platform database is not SQLite": not self.database.startswith("sqlite:"),
            "the blob store is on S3": "://" in self.blobs,
            "the lake is on S3": "://" in self.lake,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    @property
    def lake(self) -> str:
        """Folder or s3:// URL of the lake."""
        return self.lake_url or str(self.home / "lake")

    @property
    def blobs(self) -> str:
        """Folder or s3:// URL of the blob store."""
        return self.blobs_url or str(self.home / "blobs")

    @property
    def serving(self) -> Path:
        """Folder of the bid service."""
        return Path(self.serve_home) if self.serve_home else self.home / "serving"

    @property
    def mlflow(self) -> str:
        """MLflow tracking URI."""
        return self.mlflow_url or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"


class _File(TomlConfigSettingsSource):
    """The settings file, which may hold no secret addresses."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for name in sorted(SECRETS_OF_THE_ENVIRONMENT & set(found)):
            raise UsageError(
                f"the setting {name!r} is in {SETTINGS_FILE}, where others can read it",
                next=f"take it out and set BIDWRIGHT_{name.upper()} in the environment",
            )
        return found


def load_settings(**overrides: object) -> Settings:
    """Read the settings; a wrong value is a UsageError that names it."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks the types
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the setting {name!r} is wrong: {first['msg']}",
            next=f"correct BIDWRIGHT_{str(first['loc'][0]).upper()} or {SETTINGS_FILE}",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{SETTINGS_FILE} is not TOML: {error}", next="correct the line that is named") from error
    except SettingsError as error:
        raise UsageError(
            f"a setting cannot be read: {error}",
            next='write lists and tables in the environment as JSON, such as {"EUR/USD": 1.08}',
        ) from error
