"""The pages by which an operator signs an account in at its OAuth 2.0 provider."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from imapped_site import sign_in
from imapped_site.admin.base import OperatorAdmin, is_operator, operator_of
from mailcache.errors import MailcacheError
from mailcache.models import Account

_CONSENT = "oauth_consent"
_DEVICE = "oauth_device"


class SignInPages(OperatorAdmin[Account]):
    """Account pages for signing in: to the consent page and back, or by a code."""

    def sign_in_urls(self) -> Sequence[URLPattern]:
        """Return the patterns of these pages."""
        return (
            self.row_path("sign-in", "sign_in", require_POST(self.to_consent)),
            self.row_path("device", "device", never_cache(self.device)),
        )

    def to_consent(self, request: HttpRequest, account: Account) -> HttpResponse:
        """Send the browser to the provider's consent page."""
        try:
            consent = sign_in.begin_consent(account=account)
        except MailcacheError as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(self.row_url(account))
        request.session[_CONSENT] = consent.remembered
        return redirect(consent.url)

    def device(self, request: HttpRequest, account: Account) -> HttpResponse:
        """Show a code to be entered elsewhere (POST begins), and look whether it has been (GET, again and again)."""
        try:
            if request.method == "POST":
                code = sign_in.begin_device_sign_in(account=account)
                request.session[_DEVICE] = {
                    "account": account.pk,
                    "device_code": code.device_code,
                    "user_code": code.user_code,
                    "url": code.verification_url,
                    "interval": code.interval,
                }
                return redirect(self.row_url(account, "device"))
            begun = request.session.get(_DEVICE)
            if not begun or begun["account"] != account.pk:
                return redirect(self.row_url(account))
            by = operator_of(request)
            if not sign_in.finish_device_sign_in(by=by, account=account, device_code=begun["device_code"]):
                context = {**self.admin_site.each_context(request), "account": account, "begun": begun}
                context |= {"opts": self.opts, "title": f"Sign {account} in"}
                return TemplateResponse(request, "admin/mailcache/account/device.html", context)
            self.message_user(request, f"{account} is signed in and will be synced now.", messages.SUCCESS)
        except MailcacheError as error:
            self.message_user(request, str(error), messages.ERROR)
        request.session.pop(_DEVICE, None)
        return redirect(self.row_url(account))


@require_GET
@never_cache
def oauth_callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from the provider's consent page."""
    if not is_operator(request):
        return redirect("admin:login")
    remembered = request.session.pop(_CONSENT, {})
    try:
        account = sign_in.finish_consent(by=operator_of(request), remembered=remembered, answer=request.GET.dict())
    except MailcacheError as error:
        messages.error(request, str(error))
        return redirect(_page_of(remembered))
    messages.success(request, f"{account} is signed in and will be synced now.")
    return redirect(_page_of(remembered))


def _page_of(remembered: dict[str, str]) -> str:
    if "account" not in remembered:
        return reverse(f"{admin.site.name}:mailcache_account_changelist")
    return reverse(f"{admin.site.name}:mailcache_account_change", args=[remembered["account"]])
