// Without a message for anybody the page leaves the frame, as Moodle's does.
const toCourse = document.getElementById("to-course");
if ("go" in toCourse.dataset) {
  window.top.location.href = toCourse.href;
}
