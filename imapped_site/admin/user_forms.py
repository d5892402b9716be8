"""Forms of the user pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html, validate_password
from django.core.exceptions import ValidationError

from mailcache.models import Account, AppPassword, User

if TYPE_CHECKING:
    _UserModelForm = forms.ModelForm[User]
    _AppPasswordModelForm = forms.ModelForm[AppPassword]
else:
    _UserModelForm = _AppPasswordModelForm = forms.ModelForm


_LABELS = {"is_superuser": "Administrator"}
_HELP_TEXTS = {"is_superuser": "An operator who may make others operators."}


class _PasswordInput(forms.PasswordInput):
    """Empty at every display; tells password managers that this is a new password."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "new-password", "class": "vTextField"})


class PasswordFields(forms.Form):
    """A new password, twice."""

    password = forms.CharField(strip=False, widget=_PasswordInput, help_text=password_validators_help_text_html)
    password_again = forms.CharField(strip=False, widget=_PasswordInput)

    def clean(self) -> dict[str, Any]:
        """Refuse passwords that differ, or that are too easy to guess."""
        cleaned = super().clean() or self.cleaned_data
        password, again = cleaned.get("password"), cleaned.get("password_again")
        if password and again and password != again:
            self.add_error("password_again", "The two passwords differ.")
        elif password:
            self._check_strength(password)
        return cleaned

    def _check_strength(self, password: str) -> None:
        try:
            validate_password(password, getattr(self, "instance", None))
        except ValidationError as error:
            self.add_error("password", error)


class UserAddForm(PasswordFields, _UserModelForm):
    """Everything about a new user."""

    class Meta:
        model = User
        fields = ("email", "is_staff", "is_superuser")
        labels = _LABELS
        help_texts = _HELP_TEXTS

    def clean_email(self) -> str:
        """Refuse a name that is taken in whatever case."""
        email: str = self.cleaned_data["email"]
        if User.objects.filter(email__iexact=email).exists():
            raise ValidationError(f"A user {email} exists already.")
        return email


class UserChangeForm(_UserModelForm):
    """What may change about a user, except passwords."""

    class Meta:
        model = User
        fields = ("is_active", "is_staff", "is_superuser", "root_account")
        labels = _LABELS
        help_texts = _HELP_TEXTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        root = self.fields.get("root_account")
        if isinstance(root, forms.ModelChoiceField):
            root.queryset = Account.objects.of_user(self.instance.pk)


class NewPasswordForm(PasswordFields):
    """A new password for a user that exists."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance = user


class AppPasswordForm(_AppPasswordModelForm):
    """The label of a new app password; the password itself is generated."""

    class Meta:
        model = AppPassword
        fields = ("label",)
        widgets = {"label": forms.TextInput(attrs={"class": "vTextField", "placeholder": "Thunderbird on the laptop"})}

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_label(self) -> str:
        """Refuse a label that the user has already, revoked or not: the audit log names passwords by label."""
        label: str = self.cleaned_data["label"]
        if AppPassword.objects.filter(user=self._user, label=label).exists():
            raise ValidationError(f"{self._user} has an app password of this name already.")
        return label
