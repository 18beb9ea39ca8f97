"""The web page, WebRTC and the HTTP interface: visitors' cameras in, skeletons back."""
