"""A synthetic person ready to be rendered: mesh, textures, strands and baked soft shadows, made once per identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.head_rotation import rotation
from model_server.synthetic import glasses, hair
from model_server.synthetic.appearance import Lighting, Look, backdrop, linear, random_lighting, random_look
from model_server.synthetic.head import HeadModel, random_identity
from model_server.synthetic.occlusion import bake_occlusion, visibility_towards
from model_server.synthetic.rasterizer import Camera, vertex_normals, visible_triangles
from model_server.synthetic.ribbons import ribbon_triangles, widen
from model_server.synthetic.shading import (
    CLOTH,
    EYE,
    HAIR,
    MOUTH,
    NO_TEXTURE,
    SKIN,
    Geometry,
    Light,
    Surface,
    develop,
    response_curve,
    shade,
)
from model_server.synthetic.texture import paint_eye, paint_face, texel_map
from model_server.synthetic.torso import torso

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]
Image = npt.NDArray[np.uint8]

RIGID = 0.999  # stiffness from which a vertex is part of the skull
PIVOT = np.array([0.0, -4.0, -1.0], np.float32)  # where the skull turns on the neck, cm
PART_MATERIAL = {
    "Face": SKIN,
    "BackHead": SKIN,
    "ScleraLeft": EYE,
    "ScleraRight": EYE,
    "Teeth": MOUTH,
    "GumsTongue": MOUTH,
}
GAMMA = response_curve()
GRAIN = np.float32(0.006)  # sensor noise, in units of the signal's square root


@dataclass(frozen=True)
class Detail:
    """How finely an actor is made.

    Attributes:
        texture: side of the face texture, pixels.
        strands: number of scalp strands.
        supersampling: samples per pixel along each side.
    """

    texture: int = 512
    strands: int = 4000
    supersampling: int = 2


@dataclass(frozen=True)
class Pose:
    """Rigid head pose.

    Attributes:
        yaw: degrees, positive turns the face to the viewer's right.
        pitch: degrees, positive looks up.
        roll: degrees, positive tilts the head clockwise as the viewer sees it.
        shift: (x, y, z) movement of the whole person, cm.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Frame:
    """One rendered picture with exact labels.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        landmarks: (68, 2) iBUG points, pixels.
        triangle_ids: (h, w) visible triangle per sample (supersampled), -1 for the backdrop.
        screen: (V, 3) projected vertices in samples: x, y, nearness.
    """

    image: Image
    landmarks: Floats
    triangle_ids: Ints
    screen: Floats


@dataclass(frozen=True)
class Actor:
    """One identity's geometry and appearance.

    Attributes:
        head: the parametric head.
        look, lighting: how the person and the light are.
        shape: (S, 3) head and torso vertices, neutral, cm.
        solid: (T, 3) their triangles.
        rest: blendshape weights of the relaxed face, which every frame starts from.
        strands: hair, brows, lashes and beard.
        triangles: (T + R, 3) solid triangles, then those of the strands' ribbons.
        stiffness: (S,) how far vertices follow the head's turning, 0 torso .. 1 skull.
        surface: what its vertices and triangles are made of.
        openness: (V,) sky visibility of every vertex.
        visibility: (V, 9) visibility by direction, spherical harmonics.
        detail: sampling settings.
        seed: seed from which all of this came.
    """

    head: HeadModel
    look: Look
    lighting: Lighting
    shape: Floats
    solid: Ints
    rest: dict[str, float]
    strands: hair.Strands
    triangles: Ints
    stiffness: Floats
    surface: Surface
    openness: Floats
    visibility: Floats
    detail: Detail
    seed: int

    def backdrop(self, size: tuple[int, int]) -> Floats:
        """The identity's backdrop (H, W, 3), linear light."""
        return backdrop(np.random.default_rng([self.seed, 7]), size)


def make_actor(
    head: HeadModel, seed: int, detail: Detail | None = None, look: Look | None = None, lighting: Lighting | None = None
) -> Actor:
    """Makes the person with this seed; a given look or lighting replaces the random one."""
    detail = detail or Detail()
    rng = np.random.default_rng([seed, 1])
    identity = random_identity(rng)
    look = look or random_look(np.random.default_rng([seed, 2]))
    lighting = lighting or random_lighting(np.random.default_rng([seed, 3]))
    face = head.shape(identity)
    body, body_triangles = torso(look.neckline)
    shape = np.concatenate([face, body + [0.0, *_neck_shift(head, face)]]).astype(np.float32)
    solid = np.concatenate([head.triangles, body_triangles + len(face)])
    strands = _grow_all(head, face, look, detail, rng)
    ribbon = ribbon_triangles(strands.points.shape[:2], len(shape))
    openness, visibility = bake_occlusion(shape, solid, strands)
    material = np.concatenate(
        [[PART_MATERIAL[p] for p in head.parts], np.full(len(body_triangles), CLOTH), np.full(len(ribbon), HAIR)]
    )
    colours = np.concatenate([_vertex_colours(head, look, len(body)), strands.colour.repeat(2, 1).reshape(-1, 3)])
    openness, visibility = _light_mouth(head, openness, visibility)
    layers = np.full(len(material), NO_TEXTURE, np.int32)
    layers[: len(head.parts)] = np.select(
        [head.parts == "Face", np.char.startswith(head.parts, "Sclera")], [0, 1], NO_TEXTURE
    )
    uv = np.zeros((len(material), 3, 2), np.float32)
    uv[: len(head.parts)] = head.corner_uv
    textures = _paint(head, look, detail, seed)
    return Actor(
        head, look, lighting, shape, solid.astype(np.int32), _rest(head, face, rng), strands,
        np.concatenate([solid, ribbon]).astype(np.int32), _stiffness(head, len(body)),
        Surface(colours.astype(np.float32), uv, layers, material.astype(np.int32), textures),
        openness, visibility, detail, seed,
    )  # fmt: skip


def render(
    actor: Actor, weights: Mapping[str, float], pose: Pose, camera: Camera, scene: Floats, noise_seed: int = 0
) -> Frame:
    """Renders one frame.

    Args:
        actor: the person.
        weights: blendshape weights 0..1 by name.
        pose: head pose.
        camera: view; its size is the picture's.
        scene: (H * supersampling, W * supersampling, 3) backdrop in linear light.
        noise_seed: seed of the sensor noise, one per frame.
    """
    factor = actor.detail.supersampling
    view = camera.scaled(factor)
    offsets = np.zeros_like(actor.shape)
    offsets[: len(actor.head.neutral)] = actor.head.offsets(_over_rest(actor.rest, weights))
    points, normals = _posed(actor, offsets, pose, view.distance)
    screen = view.project(points)
    ids, _ = visible_triangles(screen, actor.triangles, len(actor.head.triangles), view.size)
    picture = scene.copy()
    geometry = Geometry(screen, actor.triangles, points, normals, view.distance)
    shade(ids, geometry, actor.surface, Light(_light_rows(actor.lighting), _occlusion(actor, pose)), picture)
    grain = np.random.default_rng([actor.seed, noise_seed, 9]).standard_normal((*camera.size, 3), np.float32)
    image = develop(picture, factor, actor.lighting.exposure, GRAIN * grain, GAMMA)
    return Frame(image, screen[actor.head.landmarks, :2] / factor, ids, screen)


def landmarks(actor: Actor, weights: Mapping[str, float], pose: Pose, camera: Camera) -> Floats:
    """Where `render` would place the iBUG points, (68, 2) pixels, without rendering."""
    marks = actor.head.landmarks
    offsets = actor.head.offsets(_over_rest(actor.rest, weights))[marks]
    angles = np.array([pose.yaw, pose.pitch, pose.roll], np.float32)
    matrix, shift = rotation(pose.yaw, pose.pitch, pose.roll), np.array(pose.shift, np.float32)
    points = turn(actor.shape[marks] + offsets, actor.stiffness[marks], angles, matrix, PIVOT, shift)
    return camera.project(points)[:, :2]


def _grow_all(head: HeadModel, face: Floats, look: Look, detail: Detail, rng: np.random.Generator) -> hair.Strands:
    share = detail.strands / 4000
    parts = [
        hair.grow_brows(head, face, look, int(500 * min(share, 2.0)), rng),
        hair.grow_lashes(head, face, look, rng),
    ]
    if look.style != "bald":
        parts.append(hair.grow_hair(head, face, look, detail.strands, rng))
    if look.stubble > 0.75:
        parts.append(hair.grow_beard(head, face, look, int(3000 * share * max(look.beard, 1.0) ** 0.5), rng))
    if look.glasses:
        parts.append(glasses.wear(head, face, look.glasses, rng))
    return hair.join(parts)


def _rest(head: HeadModel, face: Floats, rng: np.random.Generator) -> dict[str, float]:
    """Relaxed lids, lips brought together, and a hint of expression."""
    marks = face[head.landmarks]
    gap = float((marks[61:64, 1] - marks[[67, 66, 65], 1]).mean())
    lids, smile = rng.uniform(0.05, 0.16), rng.uniform(0.0, 0.16)
    return {
        "mouthClose": float(np.clip((gap - 0.05) / 3.8, 0.0, 0.08)),
        "eyeBlink_L": lids, "eyeBlink_R": lids, "mouthSmile_L": smile, "mouthSmile_R": smile,
        "browInnerUp_L": rng.uniform(0.0, 0.15), "browInnerUp_R": rng.uniform(0.0, 0.15),
    }  # fmt: skip


def _over_rest(rest: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    names = {*rest, *weights}
    return {name: min(rest.get(name, 0.0) + weights.get(name, 0.0), 1.0) for name in names}


def _neck_shift(head: HeadModel, face: Floats) -> tuple[float, float]:
    low = head.neutral[:, 1] < -12.0
    shift = (face[low] - head.neutral[low]).mean(0)
    return float(shift[1]), float(shift[2])


def _paint(head: HeadModel, look: Look, detail: Detail, seed: int) -> Floats:
    rng = np.random.default_rng([seed, 4])
    face, eye = (texel_map(head, (part,), detail.texture) for part in ("Face", "ScleraLeft"))
    scalp = hair.scalp_cover(face.position, look)
    return np.stack([paint_face(face, look, scalp, rng), paint_eye(eye, look, rng)])


def _vertex_colours(head: HeadModel, look: Look, body: int) -> Floats:
    colours = np.tile(look.skin, (len(head.neutral), 1))
    cover = hair.scalp_cover(head.neutral, look)[:, None] * 0.95
    colours = colours * (1 - cover) + look.hair * 0.6 * cover
    colours[_mouth_socket(head)] = linear([0.36, 0.13, 0.13])
    colours[head.part_vertices("Teeth")] = linear([0.80, 0.75, 0.66])
    colours[head.part_vertices("GumsTongue")] = linear([0.62, 0.30, 0.29])
    return np.concatenate([colours, np.tile(look.cloth, (body, 1))])


def _mouth_socket(head: HeadModel) -> Ints:
    """Vertices of the mouth's lining, which belongs to the back of the head."""
    vertices = head.part_vertices("BackHead")
    x, y, z = head.neutral[vertices].T
    return vertices[(np.abs(x) < 4.6) & (y < 1.0) & (y > -8.0) & (z > 1.0)]


def _light_mouth(head: HeadModel, openness: Floats, visibility: Floats) -> tuple[Floats, Floats]:
    """Baked with the mouth shut its inside would stay black; light falls off with depth behind the lips instead."""
    inside = np.concatenate([head.part_vertices("Teeth", "GumsTongue"), _mouth_socket(head)])
    depth = np.clip((head.neutral[inside, 2] - 5.0) / 6.0, 0.0, 1.0) ** 1.5
    openness[inside] = 0.65 * depth
    visibility[inside] = 0.0
    visibility[inside, 0] = 0.55 * depth / 0.2820948  # the first harmonic's value: the same from everywhere
    return openness, visibility


def _stiffness(head: HeadModel, body: int) -> Floats:
    """See `Actor.stiffness`: the neck bends between the collar and the jaw."""
    level = head.neutral[:, 1] + 0.25 * head.neutral[:, 2]
    t = np.clip((level + 14.5) / 8.5, 0.0, 1.0)  # cm: from the collar to the jaw
    return np.concatenate([t * t * (3 - 2 * t), np.zeros(body)]).astype(np.float32)


def _posed(actor: Actor, offsets: Floats, pose: Pose, distance: float) -> tuple[Floats, Floats]:
    """Vertices (V, 3) and normals (V, 3), tangents for ribbons, of expression offsets (S, 3) and a pose."""
    matrix = rotation(pose.yaw, pose.pitch, pose.roll)
    shift = np.array(pose.shift, np.float32)
    angles = np.array([pose.yaw, pose.pitch, pose.roll], np.float32)
    solid = turn(actor.shape + offsets, actor.stiffness, angles, matrix, PIVOT, shift)
    strands = actor.strands
    curves = (strands.points + offsets[strands.roots][:, None]) - PIVOT
    curves = (curves.reshape(-1, 3) @ matrix.T + PIVOT + shift).reshape(strands.points.shape)
    ribbon, tangents = widen(curves.astype(np.float32), strands.width, np.array([0, 0, distance], np.float32))
    normals = vertex_normals(solid, actor.solid)
    return np.concatenate([solid, ribbon]), np.concatenate([normals, tangents])


@njit(cache=True, nogil=True, fastmath=True)
def turn(points: Floats, stiffness: Floats, angles: Floats, matrix: Floats, pivot: Floats, shift: Floats) -> Floats:
    """Turns points (N, 3) about the pivot; partly stiff ones by that part of the angles (degrees)."""
    out = np.empty_like(points)
    local = matrix.copy()
    for i in range(points.shape[0]):
        w = stiffness[i]
        rotate = matrix
        if w < RIGID:  # a matrix of its own; vertices of the skull share one
            y, p, r = angles[0] * w * 0.0174533, angles[1] * w * 0.0174533, angles[2] * w * 0.0174533
            cy, sy, cp, sp, cr, sr = np.cos(y), np.sin(y), np.cos(p), np.sin(p), np.cos(r), np.sin(r)
            local[0, 0], local[0, 1], local[0, 2] = cy * cr + sy * sp * sr, cy * sr - sy * sp * cr, sy * cp
            local[1, 0], local[1, 1], local[1, 2] = -cp * sr, cp * cr, sp
            local[2, 0], local[2, 1], local[2, 2] = -sy * cr + cy * sp * sr, -sy * sr - cy * sp * cr, cy * cp
            rotate = local
        x, y0, z = points[i, 0] - pivot[0], points[i, 1] - pivot[1], points[i, 2] - pivot[2]
        for k in range(3):
            out[i, k] = rotate[k, 0] * x + rotate[k, 1] * y0 + rotate[k, 2] * z + pivot[k] + shift[k]
    return out


def _light_rows(lighting: Lighting) -> Floats:
    rows = (lighting.key_direction, lighting.rim_direction, lighting.key, lighting.rim, lighting.sky, lighting.ground)
    return np.stack(rows).astype(np.float32)


def _occlusion(actor: Actor, pose: Pose) -> Floats:
    """Visibility (V, 3) of sky, key and rim light with the lights turned into the head's frame."""
    matrix = rotation(pose.yaw, pose.pitch, pose.roll)
    directions = np.stack([actor.lighting.key_direction, actor.lighting.rim_direction]) @ matrix
    return np.concatenate([actor.openness[:, None], visibility_towards(actor.visibility, directions)], 1)
