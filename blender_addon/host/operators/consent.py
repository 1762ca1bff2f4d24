# mypy: disable-error-code="valid-type"
"""What is stated about the person whom a dub shows: asked once by the dub's own button, and changed here.

No postponed annotations here: Blender reads them as values.
"""

from pathlib import Path

import bpy

from ...core.consent import CHOICES, statement
from ...core.errors import AddonError
from ..bl import sequencer
from ..planning import scene_plan
from ..tasks import runtime
from .base import FINISHED, SentenceOperator

_QUESTION, _WIDTH = "Person Shown", 380


class ConsentProperties:
    """A short statement, as properties of an operator."""

    consent: bpy.props.EnumProperty(
        name=_QUESTION,
        items=CHOICES,
        description="What you state about the person. It is kept for this portrait or footage, and noted in the takes "
        "and in signed marks",
        options={"SKIP_SAVE"},
    )
    remark: bpy.props.StringProperty(
        name="Remark", description="Whose permission, which licence, ...", options={"SKIP_SAVE"}
    )

    layout: bpy.types.UILayout
    properties: bpy.types.OperatorProperties

    def ask(self, context: bpy.types.Context, confirm: str = "") -> set[str]:
        """Open the dialog; the button that confirms it says what happens then."""
        return context.window_manager.invoke_props_dialog(self, width=_WIDTH, title=_QUESTION, confirm_text=confirm)

    def draw_question(self, person: Path | None) -> None:
        """Ask who is shown in a file."""
        self.layout.label(text=f"Who is shown in {person.name if person else 'this file'}?", icon="USER")
        self.layout.prop(self, "consent")
        self.layout.prop(self, "remark")
        self.layout.label(text="Asked once for this file; it is noted in takes and signed marks")

    def remember(self, person: Path | None) -> None:
        """Keep the statement; raises AddonError."""
        if person:
            runtime.current().consents.remember(person, statement(self.consent, self.remark))


def shown(context: bpy.types.Context) -> Path | None:
    """The file that shows whom the next dub shows; None where there is none, or the dub cannot be planned."""
    scene = sequencer.edit_scene(context)
    try:
        person = scene_plan.of(runtime.current().link.read(scene), Path()).plan.person
    except AddonError:  # which the dub itself will say
        return None
    return person if person and person.is_file() else None


def unasked(context: bpy.types.Context) -> Path | None:
    """The same where nothing was asked about the person yet."""
    person = shown(context)
    return person if person and runtime.current().consents.of(person) is None else None


class POSEDUB_OT_consent(ConsentProperties, SentenceOperator, bpy.types.Operator):
    """State again who is shown in the portrait or footage"""

    bl_idname = "posedub.consent"
    bl_label = _QUESTION

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Called by Blender for a button."""
        return self.ask(context)

    def draw(self, context: bpy.types.Context) -> None:
        """The dialog."""
        self.draw_question(shown(context))

    def run(self, context: bpy.types.Context) -> set[str]:
        """Keep what was stated."""
        person = shown(context)
        if person is None:
            raise AddonError("The next dub has no portrait or footage that shows a person.", "Choose one first.")
        self.remember(person)
        return FINISHED


CLASSES = (POSEDUB_OT_consent,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
