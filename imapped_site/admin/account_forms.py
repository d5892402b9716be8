"""Forms of the account pages. The upstream password can be written here and never be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from mailcache.models import OAUTH_METHODS, Account
from sync.profiles import BY_NAME, choose_profile

if TYPE_CHECKING:
    _AccountModelForm = forms.ModelForm[Account]
else:
    _AccountModelForm = forms.ModelForm

POLICY_FIELDS = ("body_policy", "body_days", "daily_bytes", "connection_limit", "profile", "quota_bytes")
UPSTREAM_FIELDS = ("host", "port", "tls_mode", "auth_method", "username", "secret")


class _SecretField(forms.CharField):
    """A password of the upstream: never displayed, no spaces taken off, not offered to password managers."""

    def __init__(self, *, required: bool, help_text: str) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"})
        super().__init__(label="Upstream password", strip=False, required=required, help_text=help_text, widget=widget)


class _PortField(forms.IntegerField):
    """A TCP port."""

    def __init__(self) -> None:
        widget = forms.NumberInput(attrs={"class": "vIntegerField"})
        super().__init__(label="Upstream port", min_value=1, max_value=65_535, initial=993, widget=widget)


def _profile_choices(empty: str) -> list[tuple[str, str]]:
    named = ((profile.name, profile.title) for profile in BY_NAME.values())
    return [("", empty), *sorted(named, key=lambda choice: choice[1].lower())]


class _ProfileField(forms.ChoiceField):
    """A provider profile; empty leaves the choice to the host and to what the upstream says it is."""

    def __init__(self) -> None:
        super().__init__(
            label="Provider profile",
            required=False,
            choices=_profile_choices("automatic"),
            help_text="How the upstream is treated: what it gets wrong, and its limits.",
        )


class AccountChangeForm(_AccountModelForm):
    """How the upstream is reached, and how much of it is fetched."""

    port = _PortField()
    profile = _ProfileField()
    secret = _SecretField(required=False, help_text="Leave empty to keep the stored one. It cannot be shown.")

    class Meta:
        model = Account
        fields = ("display_name", "host", "port", "tls_mode", "auth_method", "username", *POLICY_FIELDS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account = self.instance
        automatic = choose_profile(host=account.host, detected=account.detected_profile)
        profile = self.fields["profile"]
        if isinstance(profile, forms.ChoiceField):
            profile.choices = _profile_choices(f"automatic: {automatic.title}")


class AccountAddForm(_AccountModelForm):
    """A new account."""

    port = _PortField()
    profile = _ProfileField()
    username = forms.CharField(
        label="Upstream user name",
        required=False,
        max_length=254,
        help_text="Empty: the e-mail address.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    secret = _SecretField(
        required=False,
        help_text="Sealed before it is stored; it cannot be shown again. None for OAuth 2.0: sign in afterwards.",
    )

    class Meta:
        model = Account
        fields = (
            "user", "address", "display_name", "host", "port", "tls_mode", "auth_method", "username", *POLICY_FIELDS,
        )  # fmt: skip

    def clean_username(self) -> str:
        """Most providers use the e-mail address as the name to log in with."""
        return str(self.cleaned_data["username"] or self.cleaned_data.get("address", ""))

    def clean(self) -> None:
        """Refuse a second account of the same address, in whatever case."""
        super().clean()
        if not self.cleaned_data.get("secret") and self.cleaned_data.get("auth_method") not in OAUTH_METHODS:
            raise ValidationError({"secret": "This field is required."})
        user, address = self.cleaned_data.get("user"), self.cleaned_data.get("address")
        if user and address and Account.objects.of_user(user.pk).filter(address__iexact=address).exists():
            raise ValidationError({"address": f"{user} has an account {address} already."})
