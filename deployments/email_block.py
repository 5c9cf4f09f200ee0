"""A notification block that sends e-mail over SMTP: Prefect has none of its own."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import make_msgid
from urllib.parse import unquote, urlsplit

from prefect.blocks.abstract import NotificationBlock, NotificationError
from pydantic import Field, SecretStr

_TIMEOUT = 20.0


class EmailNotification(NotificationBlock):
    """Sends plain text over SMTP."""

    _block_type_name = "Sluice E-mail"
    _block_type_slug = "sluice-email"
    _description = "Sends notifications as plain e-mail over SMTP."

    server: SecretStr = Field(
        title="Server",
        description="smtp://host:25 (no encryption), smtp+starttls://user:password@host:587 or smtps://...:465.",
    )
    sender: str = Field(title="From", description="Address the mail comes from.")
    recipients: list[str] = Field(title="To", description="Addresses the mail goes to.")

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send one mail to all recipients.

        Raises:
            NotificationError: the server was not reached, or refused it.
        """
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = " ".join((subject or "Sluice").split())  # a line break would be another header
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2] or None)
        message.set_content(body)
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotificationError(f"E-mail was not sent: {error}") from error

    def _send(self, message: EmailMessage) -> None:
        url = urlsplit(self.server.get_secret_value())
        host = url.hostname or "localhost"
        if url.scheme == "smtps":
            context = ssl.create_default_context()
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=_TIMEOUT, context=context)
        else:
            smtp = smtplib.SMTP(host, url.port or 25, timeout=_TIMEOUT)
        with smtp:
            if url.scheme == "smtp+starttls":
                smtp.starttls(context=ssl.create_default_context())
            if url.username:
                smtp.login(unquote(url.username), unquote(url.password or ""))
            smtp.send_message(message)
